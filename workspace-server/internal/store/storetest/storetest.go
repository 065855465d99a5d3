// Package storetest runs a test on each kind of database that this machine has:
// SQLite always, Postgres if TEST_DATABASE_URL names a server.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/lib/pq"

	"workspace-server/internal/migrate"
	"workspace-server/internal/store"
	"workspace-server/migrations"
)

// Database is one test's own database, without a schema yet. URL and Dir are
// arguments of store.Open; Dir also takes a server's files.
type Database struct {
	URL, Dir string
}

// Each runs fn as a subtest on each kind of database.
func Each(t *testing.T, fn func(t *testing.T, database Database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		if !hasSQLite {
			t.Skip("built with -tags=nosqlite")
		}
		fn(t, Database{Dir: t.TempDir()})
	})
	t.Run("postgres", func(t *testing.T) {
		fn(t, Database{URL: postgresSchema(t), Dir: t.TempDir()})
	})
}

// Parallel is Each for a test that may run at the same time as others, and on both
// databases at once. It calls t.Parallel.
func Parallel(t *testing.T, fn func(t *testing.T, database Database)) {
	t.Helper()
	t.Parallel()
	Each(t, func(t *testing.T, database Database) {
		t.Parallel()
		fn(t, database)
	})
}

// Open opens the database as one server does. Two calls are two servers.
func (d Database) Open(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), d.URL, d.Dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}

// Migrated opens the database and gives it its schema.
func (d Database) Migrated(t *testing.T) *store.DB {
	t.Helper()
	db := d.Open(t)
	if _, err := migrate.Run(t.Context(), db, migrations.Files); err != nil {
		t.Fatal(err)
	}
	return db
}

// postgresSchema makes a schema for one test and returns a URL that sees no other.
func postgresSchema(t *testing.T) string {
	t.Helper()
	raw := os.Getenv("TEST_DATABASE_URL")
	if raw == "" {
		const reason = "TEST_DATABASE_URL is not set: the Postgres half of this test needs a server, such as postgres://postgres:x@127.0.0.1:5432/postgres?sslmode=disable"
		if os.Getenv("REQUIRE_DOCKER") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	connector, err := pq.NewConnector(raw)
	if err != nil {
		t.Fatal(err)
	}
	admin := sql.OpenDB(connector)
	schema := "test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if _, err := admin.ExecContext(context.Background(), `DROP SCHEMA `+schema+` CASCADE`); err != nil {
			t.Errorf("drop the schema: %v", err)
		}
		if err := admin.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
