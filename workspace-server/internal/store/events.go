package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"workspace-server/internal/workspace"
)

// appendEvent writes an event as the last step of a transaction. The counter's
// row stays locked until the commit, so numbers become visible in order and a
// rollback leaves no gap: a reader that has seen n has seen all before it.
func appendEvent(ctx context.Context, tx *sql.Tx, kind string, w workspace.Workspace, at int64) (int64, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return 0, err
	}
	var seq int64
	err = tx.QueryRowContext(ctx, `UPDATE counters SET n = n + 1 WHERE name = 'events' RETURNING n`).Scan(&seq)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO events (seq, type, workspace, at, data)
		VALUES ($1, $2, $3, $4, $5)`,
		seq, kind, w.ID, at, string(data))
	return seq, err
}

// LastEvent implements workspace.EventLog.
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	var seq int64
	err := s.db.read.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = 'events'`).Scan(&seq)
	return seq, s.db.fail("read the last event's number", err)
}

// Events implements workspace.EventLog.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]workspace.Event, error) {
	events, err := s.events(ctx, after, limit)
	return events, s.db.fail("read events", err)
}

func (s *Store) events(ctx context.Context, after int64, limit int) ([]workspace.Event, error) {
	rows, err := s.db.read.QueryContext(ctx, `
		SELECT seq, type, workspace, at, data FROM events
		WHERE seq > $1 ORDER BY seq LIMIT $2`,
		after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	events := []workspace.Event{}
	for rows.Next() {
		var e workspace.Event
		var data string
		if err := rows.Scan(&e.Seq, &e.Type, &e.Workspace, &e.At, &data); err != nil {
			return nil, err
		}
		e.Data = json.RawMessage(data)
		events = append(events, e)
	}
	return events, rows.Err()
}
