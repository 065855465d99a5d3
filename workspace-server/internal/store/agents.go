package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"workspace-server/internal/workspace"
)

var _ workspace.Registry = (*Store)(nil)

// activeStep is how exact the time of an agent's last message is: a write for
// each message would cost more than it is worth.
const activeStep = time.Second

// Register implements workspace.Registry.
func (s *Store) Register(ctx context.Context, id string, r workspace.Registration) error {
	_, err := s.transition(ctx, id, workspace.ByServer, func(ctx context.Context, tx *sql.Tx, old workspace.Work, _ int64) (workspace.Work, bool, error) {
		w, changed, err := old.Ready(r.Generation, s.now())
		if err != nil {
			return old, false, err
		}
		// The statement reads the clock once, so that the times agree.
		_, err = tx.ExecContext(ctx, `
			INSERT INTO agents (workspace, generation, url, card, registered, lease_until, active,
				error_rate, active_tasks, current_task, uptime)
			SELECT $1, $2, $3, $4, clock.now, clock.now + $5, clock.now, 0, 0, '', 0
			FROM (SELECT `+s.db.dialect.now+` AS now) AS clock WHERE true
			ON CONFLICT (workspace) DO UPDATE SET generation = excluded.generation, url = excluded.url, card = excluded.card,
				registered = excluded.registered, lease_until = excluded.lease_until, active = excluded.active,
				error_rate = 0, active_tasks = 0, current_task = '', uptime = 0`,
			id, r.Generation, r.URL, string(r.Card), workspace.AgentLease.Milliseconds())
		return w, changed, err
	})
	return s.db.fail("register an agent", err)
}

// Heartbeat implements workspace.Registry. An agent with tasks is active now; for
// others the time counts that they report, unless it is in the future.
func (s *Store) Heartbeat(ctx context.Context, id string, b workspace.Heartbeat) error {
	active := b.LastActive
	if b.ActiveTasks > 0 {
		active = math.MaxInt64
	}
	now := s.db.dialect.now
	done, err := s.db.write.ExecContext(ctx, `
		UPDATE agents SET lease_until = `+now+` + $1, error_rate = $2, active_tasks = $3, current_task = $4, uptime = $5,
			active = CASE WHEN $6 > `+now+` THEN `+now+` WHEN $7 > active THEN $8 ELSE active END
		WHERE workspace = $9 AND generation = $10 AND EXISTS (
			SELECT 1 FROM workspaces w
			WHERE w.id = agents.workspace AND w.generation = agents.generation AND w.desired = $11 AND w.state <> $12
		)`,
		workspace.AgentLease.Milliseconds(), b.ErrorRate, b.ActiveTasks, b.CurrentTask, b.Uptime, active, active, active,
		id, b.Generation, workspace.StateRunning, workspace.StateFailed)
	if err == nil {
		var n int64
		if n, err = done.RowsAffected(); err == nil && n == 0 {
			err = s.whyNot(ctx, id, b.Generation)
		}
	}
	return s.db.fail("renew the lease of an agent", err)
}

// whyNot returns why an agent cannot renew its lease.
func (s *Store) whyNot(ctx context.Context, id string, generation int64) error {
	w, err := s.Work(ctx, id)
	if err != nil {
		return err
	}
	if _, _, err := w.Ready(generation, s.now()); err != nil {
		return err
	}
	return workspace.Errorf(workspace.Conflict, "The agent of workspace %q has not registered in generation %d. Register first.", id, generation)
}

// Agent implements workspace.Registry.
func (s *Store) Agent(ctx context.Context, id string) (workspace.Agent, error) {
	var a workspace.Agent
	var card string
	err := s.db.read.QueryRowContext(ctx, `
		SELECT generation, url, card, registered, lease_until, active, error_rate, active_tasks, current_task, uptime
		FROM agents WHERE workspace = $1`, id).
		Scan(&a.Generation, &a.URL, &card, &a.Registered, &a.LeaseUntil, &a.Active, &a.ErrorRate, &a.ActiveTasks, &a.CurrentTask, &a.Uptime)
	if errors.Is(err, sql.ErrNoRows) {
		if _, err := s.Get(ctx, id); err != nil {
			return a, err
		}
		return a, workspace.Errorf(workspace.NotFound, "No agent has registered for workspace %q yet.", id)
	}
	a.Card = []byte(card)
	return a, s.db.fail("get an agent", err)
}

// Reach implements workspace.Registry.
func (s *Store) Reach(ctx context.Context, id string) (workspace.Work, string, error) {
	var url string
	w, err := scanWork(s.db.read.QueryRowContext(ctx, `
		SELECT `+workColumns+`, COALESCE((
			SELECT url FROM agents WHERE agents.workspace = workspaces.id AND agents.generation = workspaces.generation
		), '')
		FROM workspaces WHERE id = $1`, id), &url)
	if errors.Is(err, sql.ErrNoRows) {
		return w, "", notFound(id)
	}
	return w, url, s.db.fail("find an agent", err)
}

// Touch implements workspace.Registry.
func (s *Store) Touch(ctx context.Context, id string) error {
	now := s.db.dialect.now
	_, err := s.db.write.ExecContext(ctx, `
		UPDATE agents SET active = `+now+` WHERE workspace = $1 AND active <= `+now+` - $2`,
		id, activeStep.Milliseconds())
	return s.db.fail("record a message to an agent", err)
}
