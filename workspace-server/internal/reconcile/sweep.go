package reconcile

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"workspace-server/internal/provision"
)

// keepSweeping compares the instances that run with those that should, every few
// seconds.
func (r *Reconciler) keepSweeping(ctx context.Context) {
	failures := series{log: r.Log, failing: "cannot tell which instances run: the driver or the database does not answer", again: "the driver and the database answer again"}
	every := r.paced().sweep
	for {
		err := r.sweep(ctx)
		failures.note(ctx, err)
		if err != nil {
			r.hearsSince.Store(nil)
		} else if r.hearsSince.Load() == nil {
			r.hearsSince.Store(new(time.Now()))
		}
		// Servers that started together should not ask together.
		if !wait(ctx, every+rand.N(every/2)) {
			return
		}
	}
}

// sweep makes workspaces due whose instances may not be as they should, and removes
// old instances of no workspace. It decides nothing about a workspace: the server
// that claims it looks again.
func (r *Reconciler) sweep(ctx context.Context) error {
	if err := r.Desk.Idle(ctx); err != nil {
		return err
	}
	live, err := r.Desk.Live(ctx)
	if err != nil {
		return err
	}
	// An instance that starts or ends after this list counts in the next sweep.
	instances, err := r.Provisioner.List(ctx)
	if err != nil {
		return err
	}
	runs := map[string]bool{}
	for _, i := range instances {
		runs[i.Workspace] = i.State == provision.Running
	}
	should := map[string]bool{}
	var nudged []string
	for _, w := range live {
		should[w.ID] = true
		if !runs[w.ID] {
			nudged = append(nudged, w.ID)
		}
	}
	for _, i := range instances {
		if should[i.Workspace] {
			continue
		}
		known, err := r.Desk.Known(ctx, i.Workspace)
		switch {
		case err != nil:
			return err
		case known && i.State == provision.Running:
			nudged = append(nudged, i.Workspace)
		case !known && time.Since(i.Started) > orphanGrace:
			r.Log.Warn("removing an instance of a workspace that does not exist", "workspace", i.Workspace)
			if err := r.Provisioner.Remove(ctx, i.Workspace, true); err != nil {
				return err
			}
		}
	}
	if r.canJudgeSilence() {
		silent, err := r.Desk.Silent(ctx)
		if err != nil {
			return err
		}
		nudged = append(nudged, silent...)
	}
	if len(nudged) == 0 {
		return nil
	}
	return r.Desk.Nudge(ctx, nudged)
}

// series logs the first of several failures in a row, and the first success after
// them.
type series struct {
	log            *slog.Logger
	failing, again string
	failed         bool
}

func (s *series) note(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !s.failed:
		s.log.Error(s.failing, "error", err)
	case err == nil && s.failed:
		s.log.Info(s.again)
	}
	s.failed = err != nil
}
