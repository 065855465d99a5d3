package store

import (
	"context"
	"database/sql"
	"time"
)

// RemoveEvents removes events that happened before a time, the oldest first and
// at most limit of them, and returns how many. It stops at the first newer event,
// even if older ones follow because clocks differ: what is left has no gap. Any
// number of servers may call it at once.
func (s *Store) RemoveEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	last, err := s.oldEvents(ctx, before, limit)
	if err != nil || last == 0 {
		return 0, s.db.fail("look for old events", err)
	}
	var removed int64
	err = s.db.update(ctx, func(tx *sql.Tx) error {
		// Of two servers that do this at once, one waits here for the other. The
		// counter changes together with the events, so a reader that finds the
		// counter below its own place has missed nothing.
		if _, err := tx.ExecContext(ctx, `
			UPDATE counters SET n = $1 WHERE name = 'forgotten events' AND n < $1`, last); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, `DELETE FROM events WHERE seq <= $1`, last)
		if err != nil {
			return err
		}
		removed, err = done.RowsAffected()
		return err
	})
	return int(removed), s.db.fail("remove old events", err)
}

// oldEvents returns the number of the last event that may go, 0 for none.
func (s *Store) oldEvents(ctx context.Context, before time.Time, limit int) (int64, error) {
	rows, err := s.db.read.QueryContext(ctx, `SELECT seq, at FROM events ORDER BY seq LIMIT $1`, limit)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var last int64
	for rows.Next() {
		var seq, at int64
		if err := rows.Scan(&seq, &at); err != nil {
			return 0, err
		}
		if at >= before.UnixMilli() {
			break
		}
		last = seq
	}
	return last, rows.Err()
}
