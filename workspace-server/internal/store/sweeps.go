package store

import (
	"context"
	"database/sql"
	"time"

	"workspace-server/internal/workspace"
)

// idle returns the condition that a workspace has been idle for as long as its
// owner allows. What its agent did last counts, and not its heartbeats.
func (s *Store) idle() string {
	return `w.state = 'running' AND w.idle_minutes > 0 AND a.generation = w.generation AND a.active_tasks = 0
		AND a.active + w.idle_minutes * 60000 <= ` + s.db.dialect.now
}

// Idle implements workspace.Desk. If two servers find the same workspace idle,
// the second finds it hibernating.
func (s *Store) Idle(ctx context.Context) error {
	ids, err := s.ids(ctx, `
		SELECT w.id FROM workspaces w JOIN agents a ON a.workspace = w.id WHERE `+s.idle()+` ORDER BY a.active LIMIT 100`)
	if err != nil {
		return s.db.fail("look for idle workspaces", err)
	}
	for _, id := range ids {
		_, err := s.transition(ctx, id, workspace.ByServer, func(ctx context.Context, tx *sql.Tx, old workspace.Work, _ int64) (workspace.Work, bool, error) {
			// A message may have arrived meanwhile.
			var n int
			err := tx.QueryRowContext(ctx, `
				SELECT COUNT(*) FROM workspaces w JOIN agents a ON a.workspace = w.id WHERE w.id = $1 AND `+s.idle(), id).Scan(&n)
			if err != nil || n == 0 {
				return old, false, err
			}
			return old.Ask(workspace.Idle, s.now())
		})
		if err != nil && workspace.KindOf(err) != workspace.NotFound {
			return s.db.fail("hibernate an idle workspace", err)
		}
	}
	return nil
}

// Silent implements workspace.Desk.
func (s *Store) Silent(ctx context.Context) ([]string, error) {
	ids, err := s.ids(ctx, `
		SELECT w.id FROM workspaces w JOIN agents a ON a.workspace = w.id
		WHERE w.state = 'running' AND a.generation = w.generation AND a.lease_until <= `+s.db.dialect.now)
	return ids, s.db.fail("look for silent agents", err)
}

func (s *Store) ids(ctx context.Context, query string) ([]string, error) {
	rows, err := s.db.read.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// RemoveTransitions removes transitions that happened before a time, the
// oldest first and at most limit of them, and returns how many. The last one of
// each workspace stays. Any number of servers may call it at once.
func (s *Store) RemoveTransitions(ctx context.Context, before time.Time, limit int) (int, error) {
	done, err := s.db.write.ExecContext(ctx, `
		DELETE FROM transitions WHERE (workspace, revision) IN (
			SELECT t.workspace, t.revision FROM transitions t
			WHERE t.at < $1 AND EXISTS (SELECT 1 FROM transitions n WHERE n.workspace = t.workspace AND n.revision > t.revision)
			ORDER BY t.at LIMIT $2
		)`, before.UnixMilli(), limit)
	if err != nil {
		return 0, s.db.fail("remove old transitions", err)
	}
	n, err := done.RowsAffected()
	return int(n), s.db.fail("remove old transitions", err)
}

// Lag returns how long the workspace that has waited longest has been due.
func (s *Store) Lag(ctx context.Context) (time.Duration, error) {
	now := s.now().UnixMilli()
	var due int64
	err := s.db.read.QueryRowContext(ctx, `SELECT COALESCE(MIN(due), $1) FROM workspaces WHERE due <= $2`, now, now).Scan(&due)
	return time.Duration(now-due) * time.Millisecond, s.db.fail("measure how long workspaces wait", err)
}
