package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"
	"time"

	"workspace-server/internal/workspace"
)

func insertRemoval(ctx context.Context, tx *sql.Tx, id string, keepData bool, now int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO removals (id, keep_data, due) VALUES ($1, $2, $3)`, id, number(keepData), now)
	return err
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ClaimRemovals implements workspace.Desk.
func (s *Store) ClaimRemovals(ctx context.Context, owner string, lease time.Duration, limit int) ([]workspace.Removal, error) {
	var claims []workspace.Removal
	rows, err := s.claimDue(ctx, "removals", "id, keep_data, attempts", owner, lease, limit)
	if rows != nil {
		defer rows.Close()
		for rows.Next() {
			var r workspace.Removal
			var keep int
			if err = rows.Scan(&r.ID, &keep, &r.Attempts, &r.Epoch); err != nil {
				break
			}
			r.KeepData = keep == 1
			claims = append(claims, r)
		}
		err = errors.Join(err, rows.Err())
	}
	return claims, s.db.fail("claim removals that are due", err)
}

// Removed implements workspace.Desk.
func (s *Store) Removed(ctx context.Context, r workspace.Removal) error {
	done, err := s.db.write.ExecContext(ctx, `DELETE FROM removals WHERE id = $1 AND epoch = $2`, r.ID, r.Epoch)
	return s.db.fail("record a removal", lostUnlessOne(done, err))
}

// RetryRemoval implements workspace.Desk.
func (s *Store) RetryRemoval(ctx context.Context, r workspace.Removal, after time.Duration) error {
	done, err := s.db.write.ExecContext(ctx, `
		UPDATE removals SET owner = '', owner_until = 0, attempts = attempts + 1, due = $1 WHERE id = $2 AND epoch = $3`,
		s.now().Add(after).UnixMilli(), r.ID, r.Epoch)
	return s.db.fail("give a removal back", lostUnlessOne(done, err))
}

// Known implements workspace.Desk.
func (s *Store) Known(ctx context.Context, id string) (bool, error) {
	var n int
	err := s.db.read.QueryRowContext(ctx, `
		SELECT (SELECT COUNT(*) FROM workspaces WHERE id = $1) + (SELECT COUNT(*) FROM removals WHERE id = $2)`,
		id, id).Scan(&n)
	return n > 0, s.db.fail("look for a workspace", err)
}

// Installation returns the name of this installation, which the first call gives
// the database for good.
func (s *Store) Installation(ctx context.Context) (string, error) {
	// Every start asks for the name, and only the first has to write.
	const query = `SELECT id FROM installation WHERE singleton = 1`
	var id string
	err := s.db.read.QueryRowContext(ctx, query).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, s.db.fail("look up the installation", err)
	}
	err = s.db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO installation (singleton, id) VALUES (1, $1) ON CONFLICT (singleton) DO NOTHING`,
			strings.ToLower(rand.Text()))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, query).Scan(&id)
	})
	return id, s.db.fail("name the installation", err)
}
