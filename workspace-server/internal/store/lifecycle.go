package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"workspace-server/internal/workspace"
)

var _ workspace.Desk = (*Store)(nil)

// workColumns are a workspace's columns, and those of its lifecycle.
const workColumns = columns + `, provisioned, provisioned_at, address, attempts, COALESCE(due, 0)`

func scanWork(r row, more ...any) (workspace.Work, error) {
	var w workspace.Work
	err := scanInto(&w.Workspace, r, append([]any{&w.Provisioned, &w.ProvisionedAt, &w.Address, &w.Attempts, &w.Due}, more...)...)
	return w, err
}

// lockWork is lock for a workspace with its lifecycle, and returns the epoch of
// its last claim.
func lockWork(ctx context.Context, tx *sql.Tx, id string) (workspace.Work, int64, error) {
	var epoch int64
	w, err := scanWork(tx.QueryRowContext(ctx, `
		UPDATE workspaces SET revision = revision WHERE id = $1 RETURNING `+workColumns+`, epoch`, id), &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return w, 0, notFound(id)
	}
	return w, epoch, err
}

// Ask implements workspace.Store.
func (s *Store) Ask(ctx context.Context, id string, action workspace.Action, by string, match workspace.Match) (workspace.Workspace, error) {
	w, err := s.transition(ctx, id, by, func(_ context.Context, _ *sql.Tx, old workspace.Work, _ int64) (workspace.Work, bool, error) {
		if err := match.Check(old.Workspace); err != nil {
			return old, false, err
		}
		return old.Ask(action, s.now())
	})
	return w.Workspace, s.db.fail("ask something of a workspace", err)
}

// A decision returns what becomes of a workspace, and whether that is a change.
// Epoch is that of the workspace's last claim.
type decision func(ctx context.Context, tx *sql.Tx, old workspace.Work, epoch int64) (w workspace.Work, changed bool, err error)

// transition changes a workspace's lifecycle as decide says. If that changes the
// revision, it records a transition and writes an event.
func (s *Store) transition(ctx context.Context, id, by string, decide decision) (workspace.Work, error) {
	var w workspace.Work
	var seq int64
	err := s.db.update(ctx, func(tx *sql.Tx) error {
		old, epoch, err := lockWork(ctx, tx, id)
		if err != nil {
			return err
		}
		var changed bool
		w, changed, err = decide(ctx, tx, old, epoch)
		if err != nil || !changed {
			return err
		}
		if err := replaceWork(ctx, tx, w); err != nil {
			return err
		}
		if w.Revision == old.Revision {
			return nil // what changed concerns servers alone
		}
		if err := appendTransition(ctx, tx, old.Status.State, w.Workspace, by); err != nil {
			return err
		}
		seq, err = s.appendEvents(ctx, tx, w.Updated, draft{workspace.EventUpdated, w.Workspace})
		return err
	})
	if err == nil && seq != 0 {
		s.committed(seq)
	}
	return w, err
}

// replaceWork stores what a transition may change.
func replaceWork(ctx context.Context, tx *sql.Tx, w workspace.Work) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE workspaces
		SET desired = $1, state = $2, reason = $3, message = $4, since = $5, generation = $6, revision = $7, updated = $8,
			provisioned = $9, provisioned_at = $10, address = $11, attempts = $12, due = NULLIF(CAST($13 AS BIGINT), 0)
		WHERE id = $14`,
		w.Desired, w.Status.State, w.Status.Reason, w.Status.Message, w.Status.Since, w.Generation, w.Revision, w.Updated,
		w.Provisioned, w.ProvisionedAt, w.Address, w.Attempts, w.Due, w.ID)
	return err
}

func appendTransition(ctx context.Context, tx *sql.Tx, from workspace.State, w workspace.Workspace, by string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO transitions (workspace, revision, generation, at, from_state, to_state, reason, message, by_whom)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		w.ID, w.Revision, w.Generation, w.Updated, from, w.Status.State, w.Status.Reason, w.Status.Message, by)
	return err
}

// Transitions implements workspace.Store.
func (s *Store) Transitions(ctx context.Context, id string, before int64, limit int) ([]workspace.Transition, error) {
	if _, err := s.Get(ctx, id); err != nil {
		return nil, err
	}
	items, err := s.transitions(ctx, id, before, limit)
	return items, s.db.fail("list transitions", err)
}

func (s *Store) transitions(ctx context.Context, id string, before int64, limit int) ([]workspace.Transition, error) {
	var p params
	where := "workspace = " + p.add(id)
	if before > 0 {
		where += " AND revision < " + p.add(before)
	}
	rows, err := s.db.read.QueryContext(ctx, `
		SELECT revision, generation, at, from_state, to_state, reason, message, by_whom FROM transitions
		WHERE `+where+` ORDER BY revision DESC LIMIT `+p.add(limit), p...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []workspace.Transition{}
	for rows.Next() {
		var t workspace.Transition
		if err := rows.Scan(&t.Revision, &t.Generation, &t.At, &t.From, &t.To, &t.Reason, &t.Message, &t.By); err != nil {
			return nil, err
		}
		items = append(items, t)
	}
	return items, rows.Err()
}

// Claim implements workspace.Desk.
func (s *Store) Claim(ctx context.Context, owner string, lease time.Duration, limit int) ([]workspace.Claim, error) {
	var claims []workspace.Claim
	rows, err := s.claimDue(ctx, "workspaces", workColumns, owner, lease, limit)
	if rows != nil {
		defer rows.Close()
		for rows.Next() {
			var c workspace.Claim
			if c.Work, err = scanWork(rows, &c.Epoch); err != nil {
				break
			}
			claims = append(claims, c)
		}
		err = errors.Join(err, rows.Err())
	}
	return claims, s.db.fail("claim workspaces that are due", err)
}

// claimDue claims the rows of a table that are due, and returns columns of them,
// followed by their epochs. It returns nil if nothing is due.
func (s *Store) claimDue(ctx context.Context, table, columns, owner string, lease time.Duration, limit int) (*sql.Rows, error) {
	now := s.db.dialect.now
	if due, err := s.isDue(ctx, table); err != nil || !due {
		return nil, err
	}
	return s.db.write.QueryContext(ctx, `
		WITH picked AS MATERIALIZED (
			SELECT id FROM `+table+` WHERE due <= $1 AND owner_until <= `+now+` ORDER BY due LIMIT $2`+s.db.dialect.skipLocked+`
		)
		UPDATE `+table+` SET owner = $3, owner_until = `+now+` + $4, epoch = epoch + 1
		WHERE id IN (SELECT id FROM picked) AND owner_until <= `+now+`
		RETURNING `+columns+`, epoch`,
		s.now().UnixMilli(), limit, owner, lease.Milliseconds())
}

// isDue spares frequent callers a write, of which SQLite runs one at a time.
func (s *Store) isDue(ctx context.Context, table string) (bool, error) {
	var one int
	err := s.db.read.QueryRowContext(ctx, `SELECT 1 FROM `+table+` WHERE due <= $1 LIMIT 1`, s.now().UnixMilli()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Renew implements workspace.Desk.
func (s *Store) Renew(ctx context.Context, c workspace.Claim, lease time.Duration) (bool, error) {
	var generation int64
	var state workspace.State
	err := s.db.write.QueryRowContext(ctx, `
		UPDATE workspaces SET owner_until = `+s.db.dialect.now+` + $1 WHERE id = $2 AND epoch = $3
		RETURNING generation, state`, lease.Milliseconds(), c.ID, c.Epoch).Scan(&generation, &state)
	if errors.Is(err, sql.ErrNoRows) {
		err = lost()
	}
	return generation == c.Generation && state == c.Status.State, s.db.fail("renew a claim", err)
}

func lostUnlessOne(done sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	if err == nil && n == 0 {
		err = lost()
	}
	return err
}

func lost() error {
	return workspace.Errorf(workspace.Conflict, "Another server has taken over this work, or the workspace is gone.")
}

// Observe implements workspace.Desk.
func (s *Store) Observe(ctx context.Context, c workspace.Claim, o workspace.Observation) error {
	_, err := s.transition(ctx, c.ID, workspace.ByServer, func(ctx context.Context, tx *sql.Tx, old workspace.Work, epoch int64) (workspace.Work, bool, error) {
		if epoch != c.Epoch {
			return old, false, lost()
		}
		w, changed := old.Observe(o, s.now())
		return w, changed, giveBack(ctx, tx, c.ID)
	})
	return s.db.fail("record an observation", err)
}

// giveBack ends a workspace's claim.
func giveBack(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `UPDATE workspaces SET owner = '', owner_until = 0 WHERE id = $1`, id)
	return err
}

// Release implements workspace.Desk.
func (s *Store) Release(ctx context.Context, c workspace.Claim, after time.Duration) error {
	_, err := s.transition(ctx, c.ID, workspace.ByServer, func(ctx context.Context, tx *sql.Tx, old workspace.Work, epoch int64) (workspace.Work, bool, error) {
		if epoch != c.Epoch {
			return old, false, lost()
		}
		w := old
		if old.Revision == c.Revision && old.Due == c.Due {
			w.Due = 0
			if after >= 0 {
				w.Due = s.now().Add(after).UnixMilli()
			}
		}
		return w, true, giveBack(ctx, tx, c.ID)
	})
	return s.db.fail("give a claim back", err)
}

// Nudge implements workspace.Desk. A failed workspace stays due when its next
// start is, whatever runs of it.
func (s *Store) Nudge(ctx context.Context, ids []string) error {
	// One statement each: two servers that nudge the same workspaces in different
	// orders would otherwise deadlock.
	for _, id := range ids {
		now := s.now().UnixMilli()
		if _, err := s.db.write.ExecContext(ctx, `
			UPDATE workspaces SET due = $1 WHERE id = $2 AND (due IS NULL OR due > $3) AND state <> $4`,
			now, id, now, workspace.StateFailed); err != nil {
			return s.db.fail("make a workspace due", err)
		}
	}
	return nil
}

// Live implements workspace.Desk.
func (s *Store) Live(ctx context.Context) ([]workspace.Work, error) {
	var live []workspace.Work
	rows, err := s.db.read.QueryContext(ctx, `
		SELECT `+workColumns+` FROM workspaces WHERE state IN ($1, $2) AND provisioned = generation`,
		workspace.StateStarting, workspace.StateRunning)
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			var w workspace.Work
			if w, err = scanWork(rows); err != nil {
				break
			}
			live = append(live, w)
		}
		err = errors.Join(err, rows.Err())
	}
	return live, s.db.fail("list the workspaces that should run", err)
}

// Work returns a workspace with its lifecycle. It fails with NotFound.
func (s *Store) Work(ctx context.Context, id string) (workspace.Work, error) {
	w, err := scanWork(s.db.read.QueryRowContext(ctx, `SELECT `+workColumns+` FROM workspaces WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return w, notFound(id)
	}
	return w, s.db.fail("get a workspace", err)
}

// Ready records that the agent of a generation is ready, and returns the
// workspace. It fails with NotFound, and with Conflict if the owner no longer
// wants that generation.
func (s *Store) Ready(ctx context.Context, id string, generation int64) (workspace.Work, error) {
	w, err := s.transition(ctx, id, workspace.ByServer, func(_ context.Context, _ *sql.Tx, old workspace.Work, _ int64) (workspace.Work, bool, error) {
		return old.Ready(generation, s.now())
	})
	return w, s.db.fail("record that an agent is ready", err)
}
