package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"slices"

	"workspace-server/internal/secret"
	"workspace-server/internal/workspace"
)

var _ secret.Store = (*Store)(nil)

// Secrets implements secret.Store.
func (s *Store) Secrets(ctx context.Context, id string) ([]secret.Secret, error) {
	if id != "" {
		if _, err := s.Get(ctx, id); err != nil {
			return nil, err
		}
	}
	items, err := s.secrets(ctx, id)
	// The databases would each order names in their own way.
	slices.SortFunc(items, func(a, b secret.Secret) int { return cmp.Compare(a.Name, b.Name) })
	return items, s.db.fail("list secrets", err)
}

func (s *Store) secrets(ctx context.Context, id string) ([]secret.Secret, error) {
	rows, err := s.db.read.QueryContext(ctx, `SELECT name, created, updated FROM secrets WHERE scope = $1`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []secret.Secret{}
	for rows.Next() {
		var item secret.Secret
		if err := rows.Scan(&item.Name, &item.Created, &item.Updated); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, rows.Err()
}

// PutSecret implements secret.Store.
func (s *Store) PutSecret(ctx context.Context, p secret.Place, seal func(check *secret.Sealed) (secret.Sealed, error)) (bool, error) {
	var fresh bool
	err := s.db.Exclusive(ctx, func(tx *sql.Tx) error {
		if p.Workspace != "" {
			if _, err := lock(ctx, tx, p.Workspace); err != nil {
				return err
			}
		}
		var others, same int
		err := tx.QueryRowContext(ctx, `
			SELECT COUNT(*), COUNT(CASE WHEN name = $1 THEN 1 END) FROM secrets WHERE scope = $2`,
			p.Name, p.Workspace).Scan(&others, &same)
		if err != nil {
			return err
		}
		fresh = same == 0
		if fresh && others >= secret.MaxSecrets {
			return workspace.Errorf(workspace.Conflict, "There are %d secrets here, and there may be no more. Delete one first.", others)
		}
		check, err := keyCheck(ctx, tx)
		if err != nil {
			return err
		}
		sealed, err := seal(check)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO secrets (scope, name, workspace, key_id, box, created, updated)
			VALUES ($1, $2, NULLIF($3, ''), $4, $5, $6, $7)
			ON CONFLICT (scope, name) DO UPDATE
			SET key_id = excluded.key_id, box = excluded.box, updated = excluded.updated`,
			p.Workspace, p.Name, p.Workspace, sealed.Key, base64.StdEncoding.EncodeToString(sealed.Box),
			s.now().UnixMilli(), s.now().UnixMilli())
		return err
	})
	return fresh, s.db.fail("store a secret", err)
}

// DeleteSecret implements secret.Store.
func (s *Store) DeleteSecret(ctx context.Context, p secret.Place) error {
	done, err := s.db.write.ExecContext(ctx, `DELETE FROM secrets WHERE scope = $1 AND name = $2`, p.Workspace, p.Name)
	if err != nil {
		return s.db.fail("delete a secret", err)
	}
	n, err := done.RowsAffected()
	if err == nil && n == 0 {
		return workspace.Errorf(workspace.NotFound, "There is no secret %q here.", p.Name)
	}
	return s.db.fail("delete a secret", err)
}

// SealedSecrets implements secret.Store.
func (s *Store) SealedSecrets(ctx context.Context, id string) (map[secret.Place]secret.Sealed, error) {
	all, err := sealed(s.db.read.QueryContext(ctx, `
		SELECT scope, name, key_id, box FROM secrets WHERE scope = $1
		UNION ALL
		SELECT scope, name, key_id, box FROM secrets AS s
		WHERE scope = '' AND NOT EXISTS (SELECT 1 FROM secrets AS own WHERE own.scope = $2 AND own.name = s.name)`,
		id, id))
	return all, s.db.fail("read secrets", err)
}

// sealed reads all rows of a query.
func sealed(rows *sql.Rows, err error) (map[secret.Place]secret.Sealed, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[secret.Place]secret.Sealed{}
	for rows.Next() {
		var p secret.Place
		var s secret.Sealed
		var box string
		if err := rows.Scan(&p.Workspace, &p.Name, &s.Key, &box); err != nil {
			return nil, err
		}
		if s.Box, err = base64.StdEncoding.DecodeString(box); err != nil {
			return nil, err
		}
		all[p] = s
	}
	return all, rows.Err()
}

// Reseal implements secret.Store.
func (s *Store) Reseal(ctx context.Context, seal func(map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error)) error {
	return s.db.fail("seal the secrets again", s.db.Exclusive(ctx, func(tx *sql.Tx) error {
		all, err := sealed(tx.QueryContext(ctx, `SELECT scope, name, key_id, box FROM secrets`))
		if err != nil {
			return err
		}
		check, err := keyCheck(ctx, tx)
		if err != nil {
			return err
		}
		if check != nil {
			all[secret.Place{}] = *check
		}
		changed, err := seal(all)
		if err != nil {
			return err
		}
		for p, again := range changed {
			if p == (secret.Place{}) {
				if err := setKeyCheck(ctx, tx, again); err != nil {
					return err
				}
				continue
			}
			_, err = tx.ExecContext(ctx, `UPDATE secrets SET key_id = $1, box = $2 WHERE scope = $3 AND name = $4`,
				again.Key, base64.StdEncoding.EncodeToString(again.Box), p.Workspace, p.Name)
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// KeyCheck implements secret.Store.
func (s *Store) KeyCheck(ctx context.Context) (*secret.Sealed, error) {
	check, err := keyCheck(ctx, s.db.read)
	return check, s.db.fail("read the key check", err)
}

func keyCheck(ctx context.Context, q querier) (*secret.Sealed, error) {
	var check secret.Sealed
	var box string
	err := q.QueryRowContext(ctx, `SELECT key_id, box FROM key_check`).Scan(&check.Key, &box)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	check.Box, err = base64.StdEncoding.DecodeString(box)
	return &check, err
}

func setKeyCheck(ctx context.Context, tx *sql.Tx, check secret.Sealed) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO key_check (one, key_id, box) VALUES (1, $1, $2)
		ON CONFLICT (one) DO UPDATE SET key_id = excluded.key_id, box = excluded.box`,
		check.Key, base64.StdEncoding.EncodeToString(check.Box))
	return err
}
