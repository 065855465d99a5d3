//go:build !nosqlite

package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"workspace-server/internal/workspace"
)

// sqliteReaders is the number of reads that run at once.
const sqliteReaders = 8

func openSQLite(dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory (STATE_DIRECTORY): %w", err)
	}
	path := filepath.Join(dir, "workspace-server.db")
	write, err := sqlitePool(path, 1, nil)
	if err != nil {
		return nil, err
	}
	read, err := sqlitePool(path, sqliteReaders, url.Values{"_query_only": {"1"}})
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &DB{read: read, write: write, dialect: dialect{
		name:     "sqlite",
		now:      `CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
		kind:     sqliteKind,
		comingUp: func(err error) bool { return sqliteKind(err) == workspace.Unavailable },
	}}, nil
}

func sqlitePool(path string, conns int, extra url.Values) (*sql.DB, error) {
	q := url.Values{
		// Another server process may hold the lock, during a swap or for good.
		"_busy_timeout": {"10000"},
		// Readers and the writer do not wait for each other.
		"_journal_mode": {"WAL"},
		// An event that a client has seen must survive a power cut.
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		// A transaction that read before its first write could not wait for
		// another writer; it would fail.
		"_txlock": {"immediate"},
	}
	for name, values := range extra {
		q[name] = values
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

func sqliteKind(err error) workspace.Kind {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return workspace.Internal
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return workspace.Conflict
	}
	switch e.Code() & 0xff { // the other bits only add detail
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_FULL:
		return workspace.Unavailable
	}
	return workspace.Internal
}
