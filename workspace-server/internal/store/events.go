package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"workspace-server/internal/workspace"
)

// A draft is an event that has no number yet: its type, and the workspace after
// the change, or as it was last.
type draft struct {
	kind string
	w    workspace.Workspace
}

// appendEvents writes events as the last step of a transaction, and returns the
// last one's number. The counter's row stays locked until the commit, so numbers
// become visible in order, and a rollback leaves no gap: a reader that has seen n
// has seen all before it.
func (s *Store) appendEvents(ctx context.Context, tx *sql.Tx, at int64, drafts ...draft) (int64, error) {
	var last int64
	err := tx.QueryRowContext(ctx, `UPDATE counters SET n = n + $1 WHERE name = 'events' RETURNING n`,
		len(drafts)).Scan(&last)
	if err != nil {
		return 0, err
	}
	for i, d := range drafts {
		data, err := json.Marshal(d.w)
		if err != nil {
			return 0, err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO events (seq, type, workspace, at, data)
			VALUES ($1, $2, $3, $4, $5)`,
			last-int64(len(drafts)-1-i), d.kind, d.w.ID, at, string(data))
		if err != nil {
			return 0, err
		}
	}
	if s.db.dialect.notify != "" {
		if _, err := tx.ExecContext(ctx, s.db.dialect.notify); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// LastEvent implements workspace.EventLog.
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	var seq int64
	err := s.db.read.QueryRowContext(ctx, `SELECT n FROM counters WHERE name = 'events'`).Scan(&seq)
	return seq, s.db.fail("read the last event's number", err)
}

// Kept implements workspace.EventLog.
func (s *Store) Kept(ctx context.Context, after int64) error {
	if after == workspace.Oldest {
		return nil
	}
	forgotten, last, err := s.bounds(ctx)
	if err != nil {
		return s.db.fail("read which events there are", err)
	}
	if after >= forgotten {
		return nil
	}
	// A list that is read after the number contains all that happened up to it.
	return workspace.Errorf(workspace.Gone,
		"Events up to %d were removed; the oldest left, if any, is %d. List the workspaces again, then continue after %d, the newest.",
		forgotten, forgotten+1, last)
}

// bounds returns the numbers of the newest removed event and of the newest event.
func (s *Store) bounds(ctx context.Context) (forgotten, last int64, err error) {
	err = s.db.read.QueryRowContext(ctx, `
		SELECT f.n, l.n FROM counters f, counters l
		WHERE f.name = 'forgotten events' AND l.name = 'events'`).Scan(&forgotten, &last)
	return forgotten, last, err
}

// Events implements workspace.EventLog.
func (s *Store) Events(ctx context.Context, id string, after int64, limit int) ([]workspace.Event, error) {
	events, err := s.events(ctx, id, after, limit)
	if err != nil {
		return nil, s.db.fail("read events", err)
	}
	if len(events) > 0 && events[0].Seq == after+1 {
		return events, nil // none is missing
	}
	// Only now: an event that is still there was there when the events were read.
	if err := s.Kept(ctx, after); err != nil {
		return nil, err
	}
	return events, nil
}

func (s *Store) events(ctx context.Context, id string, after int64, limit int) ([]workspace.Event, error) {
	var p params
	where := "seq > " + p.add(after)
	if id != "" {
		where += " AND workspace = " + p.add(id)
	}
	rows, err := s.db.read.QueryContext(ctx, `
		SELECT seq, type, workspace, at, data FROM events
		WHERE `+where+` ORDER BY seq LIMIT `+p.add(limit), p...)
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
