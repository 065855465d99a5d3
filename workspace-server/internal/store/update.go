package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"

	"workspace-server/internal/workspace"
)

// Update implements workspace.Store.
func (s *Store) Update(ctx context.Context, id string, patch workspace.Patch, match workspace.Match) (workspace.Workspace, error) {
	update := s.db.update
	if patch.Parent != nil {
		update = s.db.Exclusive
	}
	var w workspace.Workspace
	var seq int64
	err := update(ctx, func(tx *sql.Tx) error {
		old, err := lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := match.Check(old); err != nil {
			return err
		}
		var changed bool
		w, changed, err = patch.Apply(old, s.now())
		if err != nil || !changed {
			return err
		}
		if w.Parent != "" && w.Parent != old.Parent {
			if err := checkMove(ctx, tx, w); err != nil {
				return err
			}
		}
		if err := replace(ctx, tx, old, w); err != nil {
			return err
		}
		seq, err = s.appendEvents(ctx, tx, w.Updated, draft{workspace.EventUpdated, w})
		return err
	})
	if err != nil {
		return workspace.Workspace{}, s.db.fail("update a workspace", err)
	}
	if seq != 0 {
		s.committed(seq)
	}
	return w, nil
}

// replace stores what an update may change of old.
func replace(ctx context.Context, tx *sql.Tx, old, w workspace.Workspace) error {
	labels, err := json.Marshal(w.Labels)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE workspaces
		SET name = $1, folded = $2, parent = NULLIF($3, ''), labels = $4, idle_minutes = $5, revision = $6, updated = $7
		WHERE id = $8`,
		w.Name, fold(w.Name), w.Parent, string(labels), w.IdleMinutes, w.Revision, w.Updated, w.ID)
	if err != nil || maps.Equal(w.Labels, old.Labels) {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM labels WHERE workspace = $1`, w.ID); err != nil {
		return err
	}
	return insertLabels(ctx, tx, w)
}
