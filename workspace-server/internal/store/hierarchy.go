package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"workspace-server/internal/workspace"
)

// Whatever changes parents, or which workspaces can be parents, runs in an
// Exclusive transaction: whether it is allowed depends on rows that it does not
// write. The walks below end whatever the rows say.

// Line implements workspace.Store.
func (s *Store) Line(ctx context.Context, id string) (workspace.Line, error) {
	l, err := line(ctx, s.db.read, id)
	if err == nil && len(l) == 0 {
		err = notFound(id)
	}
	return l, s.db.fail("get a workspace's ancestors", err)
}

// line returns a workspace's line, empty if there is no such workspace.
func line(ctx context.Context, q querier, id string) (workspace.Line, error) {
	rows, err := q.QueryContext(ctx, fmt.Sprintf(`
		WITH RECURSIVE above (id, parent, level) AS (
			SELECT id, parent, 1 FROM workspaces WHERE id = $1
			UNION ALL
			SELECT w.id, w.parent, above.level + 1 FROM workspaces w JOIN above ON w.id = above.parent
			WHERE above.level < %d
		)
		SELECT id FROM above ORDER BY level`, workspace.MaxDepth), id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var l workspace.Line
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		l = append(l, id)
	}
	return l, rows.Err()
}

// below returns a WITH clause that names a workspace and its descendants with
// their levels; the workspace's own is 1. Its id is a placeholder.
func below(id string) string {
	return fmt.Sprintf(`
		WITH RECURSIVE below (id, level) AS (
			SELECT id, 1 FROM workspaces WHERE id = %s
			UNION ALL
			SELECT w.id, below.level + 1 FROM workspaces w JOIN below ON w.parent = below.id
			WHERE below.level < %d
		)`, id, workspace.MaxDepth)
}

// levels returns the levels of a workspace and its descendants by their ids.
func levels(ctx context.Context, tx *sql.Tx, id string) (map[string]int, error) {
	rows, err := tx.QueryContext(ctx, below("$1")+` SELECT id, level FROM below`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]int{}
	for rows.Next() {
		var id string
		var level int
		if err := rows.Scan(&id, &level); err != nil {
			return nil, err
		}
		all[id] = level
	}
	return all, rows.Err()
}

// checkParent fails if w, with the number of levels from it downwards, must not
// have its parent.
func checkParent(ctx context.Context, tx *sql.Tx, w workspace.Workspace, levels int) error {
	parent, err := line(ctx, tx, w.Parent)
	if err != nil {
		return err
	}
	if len(parent) == 0 {
		return workspace.Errorf(workspace.Invalid, "There is no workspace %q to be the parent.", w.Parent)
	}
	return workspace.CheckParent(w.ID, levels, parent)
}

// checkMove fails if w must not move to its present parent with all below it.
func checkMove(ctx context.Context, tx *sql.Tx, w workspace.Workspace) error {
	moved, err := levels(ctx, tx, w.ID)
	if err != nil {
		return err
	}
	return checkParent(ctx, tx, w, slices.Max(slices.Collect(maps.Values(moved))))
}

// lock returns a workspace, which no other transaction can change before this one
// ends. The update changes nothing, but locks the row on both databases.
func lock(ctx context.Context, tx *sql.Tx, id string) (workspace.Workspace, error) {
	w, err := scan(tx.QueryRowContext(ctx, `
		UPDATE workspaces SET revision = revision WHERE id = $1 RETURNING `+columns, id))
	if errors.Is(err, sql.ErrNoRows) {
		return w, notFound(id)
	}
	return w, err
}

// Delete implements workspace.Store.
func (s *Store) Delete(ctx context.Context, id string, children workspace.Children, keepData bool, match workspace.Match) error {
	var seq int64
	err := s.db.Exclusive(ctx, func(tx *sql.Tx) error {
		w, err := lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := match.Check(w); err != nil {
			return err
		}
		now := s.now().UnixMilli()
		drafts, err := remove(ctx, tx, id, children, now)
		if err != nil {
			return err
		}
		for _, d := range drafts {
			if d.kind != workspace.EventDeleted {
				continue
			}
			if err := insertRemoval(ctx, tx, d.w.ID, keepData, now); err != nil {
				return err
			}
		}
		seq, err = s.appendEvents(ctx, tx, now, drafts...)
		return err
	})
	if err != nil {
		return s.db.fail("delete a workspace", err)
	}
	s.committed(seq)
	return nil
}

func remove(ctx context.Context, tx *sql.Tx, id string, children workspace.Children, now int64) ([]draft, error) {
	levels, err := levels(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	var drafts []draft
	switch {
	case len(levels) == 1 || children == workspace.Cascade:
	case children == workspace.Orphan:
		orphans, err := collect(tx.QueryContext(ctx, `
			UPDATE workspaces SET parent = NULL, revision = revision + 1, updated = $1
			WHERE parent = $2 RETURNING `+columns, now, id))
		if err != nil {
			return nil, err
		}
		slices.SortFunc(orphans, byAge)
		for _, w := range orphans {
			drafts = append(drafts, draft{workspace.EventUpdated, w})
		}
	default:
		count := 0
		for _, level := range levels {
			if level == 2 {
				count++
			}
		}
		return nil, workspace.Errorf(workspace.Conflict, "Workspace %q has children (%d). Delete or move them first, "+
			"or add children=%s to delete all that is below it, or children=%s to make its children roots.",
			id, count, workspace.Cascade, workspace.Orphan)
	}
	if err := keepTokens(ctx, tx, id, now); err != nil {
		return nil, err
	}
	deleted, err := collect(tx.QueryContext(ctx, below("$1")+`
		DELETE FROM workspaces WHERE id IN (SELECT id FROM below) RETURNING `+columns, id))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(deleted, func(a, b workspace.Workspace) int {
		return cmp.Or(cmp.Compare(levels[b.ID], levels[a.ID]), byAge(a, b))
	})
	for _, w := range deleted {
		drafts = append(drafts, draft{workspace.EventDeleted, w})
	}
	return drafts, nil
}

func byAge(a, b workspace.Workspace) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID))
}
