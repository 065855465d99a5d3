// Package store stores workspaces, events, tokens and secrets in Postgres or in
// SQLite. Both run the same SQL text, except for what a dialect says.
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
	// SQLite has one writer at a time. This process's writers queue for the only
	// connection of write, which is fair and needs no polling; SQLite itself waits
	// for other processes only. On Postgres both are the same pool.
	read, write *sql.DB
	dialect     dialect
}

// dialect is all that differs between the databases.
type dialect struct {
	name string

	// exclusive makes a transaction wait for others that ran it; empty if every
	// transaction waits for the others anyway.
	exclusive string

	// now is the database's time in milliseconds since 1970. Leases go by it,
	// since servers on several machines have several clocks.
	now string

	// skipLocked ends a query that picks only rows that no other transaction is
	// changing; empty if there is no other transaction.
	skipLocked string

	// notify tells other servers at the transaction's commit that there are
	// events; empty if the database cannot.
	notify string

	// listen calls hint when another server may have written events, until ctx
	// is done; nil if the database cannot tell.
	listen func(ctx context.Context, log *slog.Logger, hint func())

	// kind tells the driver's errors apart.
	kind func(error) workspace.Kind

	// comingUp reports whether an error of the first connection may pass.
	comingUp func(error) bool
}

// Open opens the Postgres database at url, or SQLite in the directory dir if url
// is empty. It waits until the database answers, at most 30 seconds, and not at
// all if waiting cannot help.
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
// events, until ctx is done. A lost hint loses no event: readers also look for
// events from time to time.
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

// Query runs a statement that changes nothing on a connection that writes.
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
		// fn's error says more than a failed rollback, which leaves nothing either.
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// fail gives err a kind and says what the store was doing. It returns nil for
// nil, and leaves errors of the domain alone.
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
		return workspace.Wrap(kind, "The database does not answer at the moment. Try again later.", err)
	case workspace.Conflict:
		return workspace.Wrap(kind, "This conflicts with something that is stored already.", err)
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
