//go:build nosqlite

package store

import "errors"

// openSQLite stands in for SQLite in builds that leave it out to link faster.
func openSQLite(string) (*DB, error) {
	return nil, errors.New("this build has no SQLite (-tags=nosqlite): set DATABASE_URL to a Postgres database")
}
