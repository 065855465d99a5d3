package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// lastUsedStep is how exact a token's last use is: a write for each request would
// cost more than the request.
const lastUsedStep = time.Minute

var _ token.Store = (*Store)(nil)

const tokenColumns = `id, prefix, name, role, COALESCE(workspace, ''), created, expires, revoked, last_used`

func scanToken(r row) (token.Token, error) {
	var t token.Token
	err := r.Scan(&t.ID, &t.Prefix, &t.Name, &t.Role, &t.Workspace, &t.Created, &t.Expires, &t.Revoked, &t.LastUsed)
	return t, err
}

// CreateToken implements token.Store.
func (s *Store) CreateToken(ctx context.Context, t token.Token, hash string) error {
	return s.db.fail("create a token", s.db.update(ctx, func(tx *sql.Tx) error {
		if t.Workspace != "" {
			if _, err := lock(ctx, tx, t.Workspace); err != nil {
				return err
			}
		}
		_, err := insertToken(ctx, tx, t, hash)
		return err
	}))
}

// CreateAgentToken stores a token for one generation of a workspace, and deletes
// the tokens of earlier generations. Other tokens of the same generation stay,
// since an agent may already use one.
func (s *Store) CreateAgentToken(ctx context.Context, t token.Token, hash string, generation int64) error {
	return s.db.fail("create a token", s.db.update(ctx, func(tx *sql.Tx) error {
		if _, err := lock(ctx, tx, t.Workspace); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM tokens WHERE workspace = $1 AND generation > 0 AND generation < $2`,
			t.Workspace, generation); err != nil {
			return err
		}
		if _, err := insertToken(ctx, tx, t, hash); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE tokens SET generation = $1 WHERE hash = $2`, generation, hash)
		return err
	}))
}

// EnsureToken stores a token unless its secret is stored already, and reports
// whether the secret is accepted: a revoked token stays revoked.
func (s *Store) EnsureToken(ctx context.Context, t token.Token, hash string) (bool, error) {
	var good bool
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		made, err := insertToken(ctx, tx, t, hash)
		if err != nil {
			return err
		}
		known := t
		if !made {
			if known, err = byHash(ctx, tx, hash); err != nil {
				return err
			}
		}
		good = known.Check(s.now()) == nil
		return nil
	})
	return good, s.db.fail("store a token", err)
}

func insertToken(ctx context.Context, tx *sql.Tx, t token.Token, hash string) (bool, error) {
	done, err := tx.ExecContext(ctx, `
		INSERT INTO tokens (id, hash, prefix, name, role, workspace, created, expires, revoked, last_used)
		VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), $7, $8, $9, $10)
		ON CONFLICT (hash) DO NOTHING`,
		t.ID, hash, t.Prefix, t.Name, t.Role, t.Workspace, t.Created, t.Expires, t.Revoked, t.LastUsed)
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n > 0, err
}

func byHash(ctx context.Context, q querier, hash string) (token.Token, error) {
	return scanToken(q.QueryRowContext(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE hash = $1`, hash))
}

// HasAdmin reports whether there is a valid token with the role admin.
func (s *Store) HasAdmin(ctx context.Context) (bool, error) {
	var n int
	err := s.db.read.QueryRowContext(ctx, `
		SELECT COUNT(*) FROM tokens
		WHERE role = $1 AND revoked = 0 AND (expires = 0 OR expires > $2)`,
		token.Admin, s.now().UnixMilli()).Scan(&n)
	return n > 0, s.db.fail("look for a token", err)
}

// Authenticate implements token.Store.
func (s *Store) Authenticate(ctx context.Context, hash string) (token.Token, error) {
	t, err := byHash(ctx, s.db.read, hash)
	if errors.Is(err, sql.ErrNoRows) {
		return token.Token{}, s.db.fail("look up a token", whyUnknown(ctx, s.db.read, hash))
	}
	if err != nil {
		return token.Token{}, s.db.fail("look up a token", err)
	}
	now := s.now()
	if err := t.Check(now); err != nil {
		return token.Token{}, err
	}
	before := now.Add(-lastUsedStep).UnixMilli()
	if t.LastUsed > before {
		return t, nil
	}
	t.LastUsed = now.UnixMilli()
	_, err = s.db.write.ExecContext(ctx, `UPDATE tokens SET last_used = $1 WHERE id = $2 AND last_used <= $3`, t.LastUsed, t.ID, before)
	return t, s.db.fail("note the use of a token", err)
}

// whyUnknown returns why no token has a secret.
func whyUnknown(ctx context.Context, q querier, hash string) error {
	var id string
	err := q.QueryRowContext(ctx, `SELECT workspace FROM removed_tokens WHERE hash = $1`, hash).Scan(&id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return workspace.Errorf(workspace.Unauthorized, "This token is not known. Check that it is complete, or ask an administrator for another one.")
	case err != nil:
		return err
	}
	return workspace.Errorf(workspace.Gone, "Workspace %q was removed, and this token went with it.", id)
}

// keepTokens records the valid tokens of a workspace and of all below it, which
// the same transaction is about to delete.
func keepTokens(ctx context.Context, tx *sql.Tx, id string, now int64) error {
	// This waits for transactions that make tokens for them.
	if _, err := tx.ExecContext(ctx, below("$1")+`
		UPDATE workspaces SET revision = revision WHERE id IN (SELECT id FROM below)`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, below("$1")+`
		INSERT INTO removed_tokens (hash, workspace, removed)
		SELECT hash, workspace, $2 FROM tokens
		WHERE workspace IN (SELECT id FROM below) AND revoked = 0 AND (expires = 0 OR expires > $3)`,
		id, now, now)
	return err
}

// ForgetTokens forgets tokens whose workspace was removed before a time, the
// oldest first and at most limit of them, and returns how many. Any number of
// servers may call it at once.
func (s *Store) ForgetTokens(ctx context.Context, before time.Time, limit int) (int, error) {
	done, err := s.db.write.ExecContext(ctx, `
		DELETE FROM removed_tokens WHERE hash IN (
			SELECT hash FROM removed_tokens WHERE removed < $1 ORDER BY removed LIMIT $2
		)`, before.UnixMilli(), limit)
	if err != nil {
		return 0, s.db.fail("forget tokens of removed workspaces", err)
	}
	n, err := done.RowsAffected()
	return int(n), s.db.fail("forget tokens of removed workspaces", err)
}

// Tokens implements token.Store.
func (s *Store) Tokens(ctx context.Context, after workspace.Cursor, limit int) ([]token.Token, workspace.Cursor, error) {
	if after == (workspace.Cursor{}) {
		after.Created = math.MaxInt64
	}
	items, err := s.tokens(ctx, after, limit+1)
	if err != nil {
		return nil, workspace.Cursor{}, s.db.fail("list tokens", err)
	}
	if len(items) <= limit {
		return items, workspace.Cursor{}, nil
	}
	last := items[limit-1]
	return items[:limit], workspace.Cursor{Created: last.Created, ID: last.ID}, nil
}

func (s *Store) tokens(ctx context.Context, after workspace.Cursor, limit int) ([]token.Token, error) {
	rows, err := s.db.read.QueryContext(ctx, `
		SELECT `+tokenColumns+` FROM tokens
		WHERE (created, id) < ($1, $2) ORDER BY created DESC, id DESC LIMIT $3`,
		after.Created, after.ID, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []token.Token{}
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, t)
	}
	return items, rows.Err()
}

// RevokeToken implements token.Store.
func (s *Store) RevokeToken(ctx context.Context, id string) error {
	var revoked int64
	err := s.db.write.QueryRowContext(ctx, `
		UPDATE tokens SET revoked = CASE WHEN revoked = 0 THEN $1 ELSE revoked END
		WHERE id = $2 RETURNING revoked`, s.now().UnixMilli(), id).Scan(&revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return workspace.Errorf(workspace.NotFound, "There is no token %q.", id)
	}
	return s.db.fail("revoke a token", err)
}
