package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"workspace-server/internal/workspace"
)

// requestsKept is how long the store recognises a create that is sent again.
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

// New returns a store in db. After each commit that wrote events it calls
// committed, which must not block, with the last event's number.
func New(db *DB, committed func(seq int64)) *Store {
	return &Store{db: db, committed: committed, now: time.Now}
}

const columns = `id, name, template, COALESCE(parent, ''), labels, idle_minutes, desired, state, reason, message, since, generation, revision, created, updated`

type row interface{ Scan(dest ...any) error }

func scan(r row) (workspace.Workspace, error) {
	var w workspace.Workspace
	err := scanInto(&w, r)
	return w, err
}

// scanInto reads the columns of a workspace, and any that follow them.
func scanInto(w *workspace.Workspace, r row, more ...any) error {
	var labels string
	err := r.Scan(append([]any{
		&w.ID, &w.Name, &w.Template, &w.Parent, &labels, &w.IdleMinutes, &w.Desired, &w.Status.State, &w.Status.Reason,
		&w.Status.Message, &w.Status.Since, &w.Generation, &w.Revision, &w.Created, &w.Updated,
	}, more...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(labels), &w.Labels)
}

// collect reads all rows of a query.
func collect(rows *sql.Rows, err error) ([]workspace.Workspace, error) {
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

// Create implements workspace.Store.
func (s *Store) Create(ctx context.Context, w workspace.Workspace, req workspace.Request) (workspace.Workspace, error) {
	update := s.db.update
	if w.Parent != "" {
		update = s.db.Exclusive
	}
	var seq int64
	err := update(ctx, func(tx *sql.Tx) error {
		if req.Key != "" {
			isNew, err := s.recordRequest(ctx, tx, w, req)
			if err != nil {
				return err
			}
			if !isNew {
				w, _, err = replay(ctx, tx, req)
				return err
			}
		}
		if w.Parent != "" {
			if err := checkParent(ctx, tx, w, 1); err != nil {
				return err
			}
		}
		if err := insert(ctx, tx, w); err != nil {
			return err
		}
		if err := appendTransition(ctx, tx, "", w, cmp.Or(req.By, workspace.ByServer)); err != nil {
			return err
		}
		var err error
		seq, err = s.appendEvents(ctx, tx, w.Created, draft{workspace.EventCreated, w})
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

func insert(ctx context.Context, tx *sql.Tx, w workspace.Workspace) error {
	labels, err := json.Marshal(w.Labels)
	if err != nil {
		return err
	}
	var due int64
	if w.Desired != w.Status.State {
		due = w.Created
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO workspaces (id, name, folded, template, parent, labels, idle_minutes, desired,
			state, reason, message, since, generation, revision, created, updated, due)
		VALUES ($1, $2, $3, $4, NULLIF($5, ''), $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, NULLIF(CAST($17 AS BIGINT), 0))`,
		w.ID, w.Name, fold(w.Name), w.Template, w.Parent, string(labels), w.IdleMinutes, w.Desired,
		w.Status.State, w.Status.Reason, w.Status.Message, w.Status.Since, w.Generation, w.Revision, w.Created, w.Updated, due)
	if err != nil {
		return err
	}
	return insertLabels(ctx, tx, w)
}

// insertLabels makes the labels of w searchable.
func insertLabels(ctx context.Context, tx *sql.Tx, w workspace.Workspace) error {
	for name, value := range w.Labels {
		_, err := tx.ExecContext(ctx, `INSERT INTO labels (workspace, name, value, created) VALUES ($1, $2, $3, $4)`, w.ID, name, value, w.Created)
		if err != nil {
			return err
		}
	}
	return nil
}

// AgeLabels gives labels of a previous version the times that List needs to find
// them. Such a server may have gone on for a while after the migration.
func (s *Store) AgeLabels(ctx context.Context) error {
	var n int
	err := s.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM labels WHERE created = 0`).Scan(&n)
	if err == nil && n > 0 {
		_, err = s.db.write.ExecContext(ctx, `
			UPDATE labels SET created = (SELECT w.created FROM workspaces w WHERE w.id = labels.workspace) WHERE created = 0`)
	}
	return s.db.fail("complete the labels", err)
}

// fold returns a text without its case.
func fold(text string) string { return strings.ToLower(strings.ToUpper(text)) }

// recordRequest stores w as the answer to req, and returns false if req has an
// answer already. Of two servers that do so at once, one waits for the other.
func (s *Store) recordRequest(ctx context.Context, tx *sql.Tx, w workspace.Workspace, req workspace.Request) (bool, error) {
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

// querier is the database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func replay(ctx context.Context, q querier, req workspace.Request) (workspace.Workspace, bool, error) {
	w := workspace.Workspace{Labels: workspace.Labels{}} // the first version's answers have none
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
			"This Idempotency-Key belongs to another request. Use a new key for each new request.")
	}
	return w, true, json.Unmarshal([]byte(answer), &w)
}

// Get implements workspace.Store.
func (s *Store) Get(ctx context.Context, id string) (workspace.Workspace, error) {
	w, err := scan(s.db.read.QueryRowContext(ctx, `SELECT `+columns+` FROM workspaces WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return workspace.Workspace{}, notFound(id)
	}
	return w, s.db.fail("get a workspace", err)
}

func notFound(id string) error {
	return workspace.Errorf(workspace.NotFound, "There is no workspace %q.", id)
}
