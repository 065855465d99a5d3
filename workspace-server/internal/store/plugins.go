package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"workspace-server/internal/workspace"
)

var _ workspace.Plugins = (*Store)(nil)

// Plugins implements workspace.Plugins.
func (s *Store) Plugins(ctx context.Context, id string) ([]workspace.Attachment, error) {
	if _, err := s.Get(ctx, id); err != nil {
		return nil, err
	}
	items, err := attachments(ctx, s.db.read, id)
	return items, s.db.fail("list the plugins of a workspace", err)
}

func attachments(ctx context.Context, q querier, id string) ([]workspace.Attachment, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, digest, created FROM plugins WHERE workspace = $1`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []workspace.Attachment{}
	for rows.Next() {
		var item workspace.Attachment
		if err := rows.Scan(&item.Name, &item.Digest, &item.Created); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	// The databases would each order names in their own way.
	slices.SortFunc(items, func(a, b workspace.Attachment) int { return cmp.Compare(a.Name, b.Name) })
	return items, rows.Err()
}

// AttachPlugin implements workspace.Plugins.
func (s *Store) AttachPlugin(ctx context.Context, id, name, digest string, match workspace.Match) (workspace.Attachment, bool, error) {
	made := workspace.Attachment{Name: name, Digest: digest, Created: s.now().UnixMilli()}
	fresh := false
	err := s.touch(ctx, id, match, func(tx *sql.Tx) (bool, error) {
		all, err := attachments(ctx, tx, id)
		if err != nil {
			return false, err
		}
		at := slices.IndexFunc(all, func(a workspace.Attachment) bool { return a.Name == name })
		switch fresh = at < 0; {
		case fresh && len(all) >= workspace.MaxPlugins:
			return false, workspace.Errorf(workspace.Conflict, "The workspace has %d plugins, and may have no more. Detach one first.", len(all))
		case !fresh:
			made.Created = all[at].Created
			if all[at].Digest == digest {
				return false, nil
			}
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO plugins (workspace, name, digest, created)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT (workspace, name) DO UPDATE SET digest = excluded.digest`,
			id, name, digest, made.Created)
		return true, err
	})
	if err != nil {
		return workspace.Attachment{}, false, s.db.fail("attach a plugin", err)
	}
	return made, fresh, nil
}

// DetachPlugin implements workspace.Plugins.
func (s *Store) DetachPlugin(ctx context.Context, id, name string, match workspace.Match) error {
	return s.db.fail("detach a plugin", s.touch(ctx, id, match, func(tx *sql.Tx) (bool, error) {
		done, err := tx.ExecContext(ctx, `DELETE FROM plugins WHERE workspace = $1 AND name = $2`, id, name)
		if err != nil {
			return false, err
		}
		n, err := done.RowsAffected()
		if err == nil && n == 0 {
			err = workspace.Errorf(workspace.NotFound, "The workspace has no plugin %.80q.", name)
		}
		return true, err
	}))
}

// touch runs fn, which changes what belongs to a workspace. If fn reports a
// change, the workspace gets a new revision and an event.
func (s *Store) touch(ctx context.Context, id string, match workspace.Match, fn func(*sql.Tx) (changed bool, err error)) error {
	var seq int64
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		w, err := lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := match.Check(w); err != nil {
			return err
		}
		changed, err := fn(tx)
		if err != nil || !changed {
			return err
		}
		w.Revision++
		w.Updated = s.now().UnixMilli()
		_, err = tx.ExecContext(ctx, `UPDATE workspaces SET revision = $1, updated = $2 WHERE id = $3`, w.Revision, w.Updated, id)
		if err != nil {
			return err
		}
		seq, err = s.appendEvents(ctx, tx, w.Updated, draft{workspace.EventUpdated, w})
		return err
	})
	if err == nil && seq != 0 {
		s.committed(seq)
	}
	return err
}
