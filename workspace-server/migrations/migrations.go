// Package migrations holds the database's schema as SQL files, which are
// applied in the order of their names, each once. A file that has been applied
// anywhere is never edited: a later file changes what it made.
package migrations

import "embed"

// Files holds the migrations. Their text runs unchanged on Postgres and SQLite.
//
//go:embed *.sql
var Files embed.FS
