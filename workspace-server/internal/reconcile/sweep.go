package reconcile

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"workspace-server/internal/provision"
)

// sweepForEver compares what runs with what ought to, every few seconds.
func (r *Reconciler) sweepForEver(ctx context.Context) {
	failures := series{log: r.Log, failing: "what runs is not known until the provisioner answers", again: "what runs is known again"}
	for {
		err := r.sweep(ctx)
		failures.note(ctx, err)
		if err != nil {
			r.hearsSince.Store(nil)
		} else if r.hearsSince.Load() == nil {
			r.hearsSince.Store(new(time.Now()))
		}
		// Servers that were started together need not ask together.
		if !wait(ctx, sweepEvery+rand.N(sweepEvery/2)) {
			return
		}
	}
}

// sweep makes workspaces due of which something has become that nobody asked
// for. It decides nothing: whoever claims them looks again.
func (r *Reconciler) sweep(ctx context.Context) error {
	if err := r.Desk.Idle(ctx); err != nil {
		return err
	}
	live, err := r.Desk.Live(ctx)
	if err != nil {
		return err
	}
	// What was made after this list is no news, and what ended is seen next time.
	instances, err := r.Provisioner.List(ctx)
	if err != nil {
		return err
	}
	runs := map[string]bool{}
	for _, i := range instances {
		runs[i.Workspace] = i.State == provision.Running
	}
	ought := map[string]bool{}
	var nudged []string
	for _, w := range live {
		ought[w.ID] = true
		if !runs[w.ID] {
			nudged = append(nudged, w.ID)
		}
	}
	for _, i := range instances {
		if ought[i.Workspace] {
			continue
		}
		known, err := r.Desk.Known(ctx, i.Workspace)
		switch {
		case err != nil:
			return err
		case known && i.State == provision.Running:
			nudged = append(nudged, i.Workspace)
		case !known && time.Since(i.Started) > orphanGrace:
			r.Log.Warn("removing what runs of a workspace that is gone", "workspace", i.Workspace)
			if err := r.Provisioner.Remove(ctx, i.Workspace, true); err != nil {
				return err
			}
		}
	}
	if r.hears() {
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

// series logs the first failure in succession, and the first success after it.
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
