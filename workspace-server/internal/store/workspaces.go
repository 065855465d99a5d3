package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"workspace-server/internal/workspace"
)

// requestsKept is how long a create is recognised when it is sent again.
const requestsKept = 24 * time.Hour

// Store implements workspace.Store and workspace.EventLog.
type Store struct {
	db        *DB
	committed func(seq int64)
	now       func() time.Time
}

var (
	_ workspace.Store    = (*Store)(nil)
	_ workspace.EventLog = (*Store)(nil)
)

// New returns a store in db. It calls committed, which must not block, after
// each commit that wrote an event, with the event's number.
func New(db *DB, committed func(seq int64)) *Store {
	return &Store{db: db, committed: committed, now: time.Now}
}

const columns = `id, name, template, desired, state, reason, message, since, revision, created, updated`

type row interface{ Scan(dest ...any) error }

func scan(r row) (workspace.Workspace, error) {
	var w workspace.Workspace
	err := r.Scan(&w.ID, &w.Name, &w.Template, &w.Desired, &w.Status.State, &w.Status.Reason,
		&w.Status.Message, &w.Status.Since, &w.Revision, &w.Created, &w.Updated)
	return w, err
}

// Create implements workspace.Store.
func (s *Store) Create(ctx context.Context, w workspace.Workspace, req workspace.Request) (workspace.Workspace, error) {
	var seq int64
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		if req.Key != "" {
			isNew, err := s.claim(ctx, tx, w, req)
			if err != nil {
				return err
			}
			if !isNew {
				w, _, err = replay(ctx, tx, req)
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO workspaces (`+columns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			w.ID, w.Name, w.Template, w.Desired, w.Status.State, w.Status.Reason,
			w.Status.Message, w.Status.Since, w.Revision, w.Created, w.Updated)
		if err != nil {
			return err
		}
		seq, err = appendEvent(ctx, tx, workspace.EventCreated, w, w.Created)
		return err
	})
	if err != nil {
		return workspace.Workspace{}, s.db.fail("create a workspace", err)
	}
	if seq != 0 {
		s.committed(seq)
	}
	return w, nil
}

// claim records that req was answered with w, and returns false if it had been
// answered before. Of two servers that claim at once one waits for the other.
func (s *Store) claim(ctx context.Context, tx *sql.Tx, w workspace.Workspace, req workspace.Request) (bool, error) {
	now := s.now()
	if _, err := tx.ExecContext(ctx, `DELETE FROM requests WHERE created < $1`,
		now.Add(-requestsKept).UnixMilli()); err != nil {
		return false, err
	}
	answer, err := json.Marshal(w)
	if err != nil {
		return false, err
	}
	var id string
	err = tx.QueryRowContext(ctx, `
		INSERT INTO requests (id, fingerprint, answer, created)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO NOTHING
		RETURNING id`,
		req.Key, req.Fingerprint, string(answer), now.UnixMilli()).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Replay implements workspace.Store.
func (s *Store) Replay(ctx context.Context, req workspace.Request) (workspace.Workspace, bool, error) {
	w, found, err := replay(ctx, s.db.read, req)
	return w, found, s.db.fail("look up a request", err)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func replay(ctx context.Context, q querier, req workspace.Request) (workspace.Workspace, bool, error) {
	var w workspace.Workspace
	var fingerprint, answer string
	err := q.QueryRowContext(ctx, `SELECT fingerprint, answer FROM requests WHERE id = $1`, req.Key).
		Scan(&fingerprint, &answer)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return w, false, nil
	case err != nil:
		return w, false, err
	case fingerprint != req.Fingerprint:
		return w, false, workspace.Errorf(workspace.Conflict,
			"This Idempotency-Key was used for another request. Use a new key for a new request.")
	}
	return w, true, json.Unmarshal([]byte(answer), &w)
}

// Get implements workspace.Store.
func (s *Store) Get(ctx context.Context, id string) (workspace.Workspace, error) {
	w, err := scan(s.db.read.QueryRowContext(ctx, `SELECT `+columns+` FROM workspaces WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return workspace.Workspace{}, workspace.Errorf(workspace.NotFound, "There is no workspace %q.", id)
	}
	return w, s.db.fail("get a workspace", err)
}

// List implements workspace.Store.
func (s *Store) List(ctx context.Context, after workspace.Cursor, limit int) ([]workspace.Workspace, workspace.Cursor, error) {
	if after == (workspace.Cursor{}) {
		after.Created = math.MaxInt64
	}
	// One more than asked for tells whether there is a next page.
	items, err := s.list(ctx, after, limit+1)
	if err != nil {
		return nil, workspace.Cursor{}, s.db.fail("list workspaces", err)
	}
	if len(items) <= limit {
		return items, workspace.Cursor{}, nil
	}
	last := items[limit-1]
	return items[:limit], workspace.Cursor{Created: last.Created, ID: last.ID}, nil
}

func (s *Store) list(ctx context.Context, after workspace.Cursor, limit int) ([]workspace.Workspace, error) {
	rows, err := s.db.read.QueryContext(ctx, `
		SELECT `+columns+` FROM workspaces
		WHERE (created, id) < ($1, $2)
		ORDER BY created DESC, id DESC
		LIMIT $3`,
		after.Created, after.ID, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []workspace.Workspace{}
	for rows.Next() {
		w, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, w)
	}
	return items, rows.Err()
}

// Delete implements workspace.Store.
func (s *Store) Delete(ctx context.Context, id string) error {
	var seq int64
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		w, err := scan(tx.QueryRowContext(ctx, `DELETE FROM workspaces WHERE id = $1 RETURNING `+columns, id))
		if errors.Is(err, sql.ErrNoRows) {
			return workspace.Errorf(workspace.NotFound, "There is no workspace %q.", id)
		}
		if err != nil {
			return err
		}
		seq, err = appendEvent(ctx, tx, workspace.EventDeleted, w, s.now().UnixMilli())
		return err
	})
	if err != nil {
		return s.db.fail("delete a workspace", err)
	}
	s.committed(seq)
	return nil
}
