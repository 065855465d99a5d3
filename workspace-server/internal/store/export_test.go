package store

import "time"

// SetClock replaces the clock that due times are measured by.
func (s *Store) SetClock(now func() time.Time) { s.now = now }

// ListQuery is the query that List makes.
var ListQuery = listQuery

// Now is the database's time in SQL.
func (db *DB) Now() string { return db.dialect.now }
