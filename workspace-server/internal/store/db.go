// Package store keeps workspaces and events in Postgres or in SQLite. Both run
// the same SQL text; only how a database is opened and how its errors are told
// apart differ.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"workspace-server/internal/workspace"
)

// startTimeout bounds how long Open waits for a database that is coming up.
const startTimeout = 30 * time.Second

// DB is an open database.
type DB struct {
	// SQLite has one writer at a time. Its writers queue for the only
	// connection of write, which is fair and costs no polling; only another
	// process is waited for inside SQLite. On Postgres both are the same pool.
	read, write *sql.DB
	dialect     dialect
}

// dialect is all that differs between the databases.
type dialect struct {
	name string

	// exclusive makes a transaction wait for others that ran it; empty when
	// every transaction does so anyway.
	exclusive string

	// now is the database's time in epoch milliseconds. Leases are measured by
	// it, since servers on several machines have several clocks.
	now string

	// skipLocked ends a query that picks rows which no other transaction is
	// about to change; empty when there is no other.
	skipLocked string

	// notify tells other servers that there are events, when the transaction
	// that it runs in is committed; empty when there is no way to.
	notify string

	// listen calls hint when another server may have written events, until ctx
	// is done; nil when there is no way to know.
	listen func(ctx context.Context, log *slog.Logger, hint func())

	// kind tells the driver's errors apart.
	kind func(error) workspace.Kind

	// comingUp reports whether an error of the first connection may pass by itself.
	comingUp func(error) bool
}

// Open opens the Postgres database at url, or SQLite in the directory dir when
// url is empty, and waits for it to answer: until ctx is done, 30 seconds at
// most, and not at all if waiting cannot help.
func Open(ctx context.Context, url, dir string, log *slog.Logger) (*DB, error) {
	open := func() (*DB, error) { return openPostgres(url) }
	if url == "" {
		open = func() (*DB, error) { return openSQLite(dir) }
	}
	db, err := open()
	if err != nil {
		return nil, err
	}
	if err := db.wait(ctx, log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) wait(ctx context.Context, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	const longest = time.Second
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, longest) {
		err := db.write.PingContext(ctx)
		if err == nil {
			return nil
		}
		if !db.dialect.comingUp(err) {
			return fmt.Errorf("open the %s database: %w", db.dialect.name, err)
		}
		if delay == 20*time.Millisecond {
			log.Info("waiting for the database", "driver", db.dialect.name, "up_to", startTimeout, "error", err)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return fmt.Errorf("the %s database does not answer: %w", db.dialect.name, err)
		}
	}
}

// Driver returns "postgres" or "sqlite".
func (db *DB) Driver() string { return db.dialect.name }

// Listen calls hint, which must not block, when another server may have written
// events, until ctx is done. No event is lost if no hint comes: whoever reads
// events looks for them from time to time.
func (db *DB) Listen(ctx context.Context, log *slog.Logger, hint func()) {
	if db.dialect.listen != nil {
		db.dialect.listen(ctx, log, hint)
	}
}

// Ping reports whether the database answers. It fails with Unavailable.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return workspace.Wrap(workspace.Unavailable, "The database does not answer.", err)
	}
	return nil
}

// Close closes all connections.
func (db *DB) Close() error {
	if db.read == db.write {
		return db.write.Close()
	}
	return errors.Join(db.read.Close(), db.write.Close())
}

// Query runs a statement that changes nothing, where a writer would read.
func (db *DB) Query(ctx context.Context, query string) (*sql.Rows, error) {
	return db.write.QueryContext(ctx, query)
}

// Exclusive runs fn in a transaction that overlaps no other Exclusive one, in
// this process or another.
func (db *DB) Exclusive(ctx context.Context, fn func(*sql.Tx) error) error {
	return db.update(ctx, func(tx *sql.Tx) error {
		if db.dialect.exclusive != "" {
			if _, err := tx.ExecContext(ctx, db.dialect.exclusive); err != nil {
				return err
			}
		}
		return fn(tx)
	})
}

// update runs fn in a transaction, which it commits if fn returns nil.
func (db *DB) update(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		// The transaction is gone either way, and fn's error says more.
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// fail gives err a kind and says what was tried. It returns nil for nil, and
// leaves errors of the domain as they are.
func (db *DB) fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*workspace.Error](err); ok {
		return err
	}
	err = fmt.Errorf("%s: %w", doing, err)
	switch kind := db.kind(err); kind {
	case workspace.Unavailable:
		return workspace.Wrap(kind, "The database does not answer at the moment. Try again.", err)
	case workspace.Conflict:
		return workspace.Wrap(kind, "This goes against something that is stored already.", err)
	default:
		return workspace.Wrap(workspace.Internal, "", err)
	}
}

func (db *DB) kind(err error) workspace.Kind {
	_, isNet := errors.AsType[net.Error](err)
	switch {
	case isNet,
		errors.Is(err, driver.ErrBadConn),
		errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled):
		return workspace.Unavailable
	}
	return db.dialect.kind(err)
}
