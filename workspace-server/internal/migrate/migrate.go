// Package migrate brings a database's schema up to date. Any number of servers may
// do this at once.
package migrate

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Database is what Run needs of a database.
type Database interface {
	// Query runs a statement that changes nothing.
	Query(ctx context.Context, query string) (*sql.Rows, error)

	// Exclusive runs fn in a transaction that overlaps no other Exclusive
	// one, in this process or another, and commits it if fn returns nil.
	Exclusive(ctx context.Context, fn func(*sql.Tx) error) error
}

// migration is a file, or the record of one that was applied.
type migration struct {
	name     string
	checksum string
	text     string
}

const selectApplied = `SELECT name, checksum FROM schema_migrations`

// Run applies the files that db lacks, in the order of their names, each in one
// transaction with its record, and returns their names. If there is nothing to do,
// it makes one query. It changes nothing if the files that were applied to db are
// newer, or were edited since.
func Run(ctx context.Context, db Database, files fs.FS) ([]string, error) {
	want, err := read(files)
	if err != nil {
		return nil, err
	}
	// An error means that there is no table yet; any other one returns below.
	if applied, err := query(ctx, db); err == nil {
		if todo, err := pending(want, applied); err != nil || len(todo) == 0 {
			return nil, err
		}
	}
	var done []string
	for {
		name, err := next(ctx, db, want)
		if err != nil {
			return done, fmt.Errorf("migrate the database: %w", err)
		}
		if name == "" {
			return done, nil
		}
		done = append(done, name)
	}
}

// next applies the first pending migration and returns its name, or "".
func next(ctx context.Context, db Database, want []migration) (name string, err error) {
	err = db.Exclusive(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			CREATE TABLE IF NOT EXISTS schema_migrations (
				name     TEXT NOT NULL PRIMARY KEY,
				checksum TEXT NOT NULL
			)`)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, selectApplied)
		if err != nil {
			return err
		}
		applied, err := scan(rows)
		if err != nil {
			return err
		}
		todo, err := pending(want, applied)
		if err != nil || len(todo) == 0 {
			return err
		}
		m := todo[0]
		if _, err := tx.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		name = m.name
		_, err = tx.ExecContext(ctx,
			`INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)`, m.name, m.checksum)
		return err
	})
	return name, err
}

func read(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql") // in order
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		// A checkout with other line endings is the same migration.
		normal := strings.ReplaceAll(string(text), "\r\n", "\n")
		sum := sha256.Sum256([]byte(normal))
		all = append(all, migration{name: name, checksum: hex.EncodeToString(sum[:]), text: normal})
	}
	return all, nil
}

func query(ctx context.Context, db Database) ([]migration, error) {
	rows, err := db.Query(ctx, selectApplied)
	if err != nil {
		return nil, err
	}
	return scan(rows)
}

func scan(rows *sql.Rows) ([]migration, error) {
	defer rows.Close()
	var all []migration
	for rows.Next() {
		var m migration
		if err := rows.Scan(&m.name, &m.checksum); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	// The database's collation may order names otherwise than fs.Glob.
	slices.SortFunc(all, func(a, b migration) int { return strings.Compare(a.name, b.name) })
	return all, rows.Err()
}

// pending returns the migrations that are not applied. Those that are applied must
// be the first ones, unchanged.
func pending(want, applied []migration) ([]migration, error) {
	known := make(map[string]string, len(want))
	for _, m := range want {
		known[m.name] = m.checksum
	}
	for i, m := range applied {
		switch checksum, ok := known[m.name]; {
		case !ok:
			return nil, fmt.Errorf("the database is newer: it has migration %s, which this program lacks; "+
				"run a newer workspace-server, or give it a clean database", m.name)
		case checksum != m.checksum:
			return nil, fmt.Errorf("migration %s was edited after it was applied to this database: "+
				"restore the file and write a new one for the change, or start with a clean database", m.name)
		case want[i].name != m.name:
			return nil, fmt.Errorf("migration %s comes before %s, which is already applied: give it a later name", want[i].name, m.name)
		}
	}
	return want[len(applied):], nil
}
