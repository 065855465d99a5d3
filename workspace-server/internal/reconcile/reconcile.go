// Package reconcile makes the state of workspaces match their desired state. The
// database alone drives it: a reconciler claims what is due, does one step, and
// records it. If its server ends in the middle, another one does the rest.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// Outfitter prepares what a workspace's instance needs.
type Outfitter interface {
	// Outfit prepares everything that an instance needs before it starts. Doing
	// that twice for the same generation does no harm. The workspace's owner sees
	// the messages of its errors that are of a kind.
	Outfit(ctx context.Context, c workspace.Claim) (provision.Spec, error)

	// Remove removes what Outfit made for a workspace. With keepData, the
	// workspace's files stay.
	Remove(ctx context.Context, id string, keepData bool) error
}

// Reconciler works on workspaces, together with the reconcilers of other servers.
type Reconciler struct {
	Desk        workspace.Desk
	Provisioner provision.Provisioner
	Outfitter   Outfitter
	Server      string // names this server in the database
	Log         *slog.Logger

	// Wake receives an element when something may be due.
	Wake <-chan struct{}

	pace pace // the zero value: the usual one

	hearsSince atomic.Pointer[time.Time] // since when this server can hear agents; nil: it cannot
}

const (
	workers     = 8
	lease       = 10 * time.Second      // of a claim: how long a killed server delays others
	wakePause   = 10 * time.Millisecond // at least, between two looks at the database
	stopGrace   = 10 * time.Second
	giveBack    = 5 * time.Second // how long recording a step may take
	orphanGrace = time.Minute     // how old an instance of no workspace gets before it is removed

	// A failed call to the driver says nothing about an instance, so it is repeated.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// pace is how long a reconciler waits before it does again what nothing wakes it for.
type pace struct {
	poll  time.Duration // look for what other servers, and the clock, made due
	renew time.Duration // renew a claim, while a step is done
	sweep time.Duration // sweep, at least; at most half as much more
}

func (r *Reconciler) paced() pace {
	if r.pace == (pace{}) {
		return pace{poll: time.Second, renew: 2 * time.Second, sweep: 3 * time.Second}
	}
	return r.pace
}

// Run works until ctx is done, and returns once it has released all claims.
func (r *Reconciler) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.keepSweeping(ctx) })
	free := make(chan struct{}, workers)
	for range workers {
		free <- struct{}{}
	}
	failures := series{log: r.Log, failing: "no workspace is reconciled until the database answers", again: "workspaces are reconciled again"}
	poll := time.NewTicker(r.paced().poll)
	defer poll.Stop()
	for {
		n := len(free)
		if n > 0 {
			jobs, err := r.claim(ctx, n)
			failures.note(ctx, err)
			for _, job := range jobs {
				<-free
				wg.Go(func() {
					defer func() { free <- struct{}{} }()
					job(ctx)
				})
			}
			if len(jobs) == n {
				continue // there may be more
			}
		}
		if !wait(ctx, wakePause) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.Wake:
		case <-poll.C:
		}
	}
}

// wait returns false when ctx is done before the time is over.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// claim claims at most n workspaces and removals, and returns what to do with each.
func (r *Reconciler) claim(ctx context.Context, n int) ([]func(context.Context), error) {
	var jobs []func(context.Context)
	removals, err := r.Desk.ClaimRemovals(ctx, r.Server, lease, n)
	for _, removal := range removals {
		jobs = append(jobs, func(ctx context.Context) { r.remove(ctx, removal) })
	}
	if err != nil || len(jobs) >= n {
		return jobs, err
	}
	claims, err := r.Desk.Claim(ctx, r.Server, lease, n-len(jobs))
	for _, c := range claims {
		jobs = append(jobs, func(ctx context.Context) { r.work(ctx, c) })
	}
	return jobs, err
}

// outcome is what to record of a step: a fact, or when to look again.
type outcome struct {
	fact  *workspace.Observation
	after time.Duration // negative: only once something makes the workspace due
}

const atOnce, never time.Duration = 0, -1

// work does the next step of a workspace, records it, and releases the claim.
func (r *Reconciler) work(ctx context.Context, c workspace.Claim) {
	step, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.renew(step, cancel, c) })
	out := r.safely(step, c)
	cancel()
	wg.Wait()

	// This happens even if this server is about to end.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	var err error
	if out.fact != nil {
		err = r.Desk.Observe(ctx, c, *out.fact)
	} else {
		err = r.Desk.Release(ctx, c, out.after)
	}
	if err != nil && workspace.KindOf(err) != workspace.Conflict && workspace.KindOf(err) != workspace.NotFound {
		r.Log.Error("a step was not recorded and will be repeated", "workspace", c.ID, "error", err)
	}
}

// renew keeps a claim until ctx is done. It cancels the step once that has become
// useless: the owner asked for something else, or another server has the claim.
func (r *Reconciler) renew(ctx context.Context, cancel context.CancelFunc, c workspace.Claim) {
	tick := time.NewTicker(r.paced().renew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		same, err := r.Desk.Renew(ctx, c, lease)
		if err == nil && !same || workspace.KindOf(err) == workspace.Conflict {
			cancel()
			return
		}
	}
}

// safely does a step. A panic must end neither the server nor the loop.
func (r *Reconciler) safely(ctx context.Context, c workspace.Claim) (out outcome) {
	defer func() {
		if value := recover(); value != nil {
			r.Log.Error("a step panicked", "workspace", c.ID, "panic", value, "stack", string(debug.Stack()))
			out = outcome{after: lastRetry}
		}
	}()
	out, err := r.step(ctx, c)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return outcome{after: atOnce}
	default:
		r.Log.Error("a step failed", "workspace", c.ID, "state", c.Status.State, "generation", c.Generation, "error", err)
	}
	return out
}

// step does what the state of a workspace asks for. With an error, which is for the
// log, it returns an outcome, too.
func (r *Reconciler) step(ctx context.Context, c workspace.Claim) (outcome, error) {
	switch c.Status.State {
	case workspace.StateStarting, workspace.StateRunning:
		if c.Provisioned == c.Generation {
			return r.inspect(ctx, c)
		}
		return r.start(ctx, c)
	case workspace.StatePausing, workspace.StateHibernating:
		if err := r.Provisioner.Stop(ctx, c.ID, stopGrace); err != nil {
			return again(c), fmt.Errorf("stop the instance: %w", err)
		}
		return found(c, workspace.Ended, ""), nil
	case workspace.StateFailed:
		return found(c, workspace.Retry, ""), nil
	default:
		return r.ensureStopped(ctx, c)
	}
}

func (r *Reconciler) start(ctx context.Context, c workspace.Claim) (outcome, error) {
	spec, err := r.Outfitter.Outfit(ctx, c)
	if err != nil {
		message := explain(err, "The workspace could not be prepared for its start.")
		return found(c, workspace.Broken, message), fmt.Errorf("prepare the instance: %w", err)
	}
	instance, err := r.Provisioner.Start(ctx, spec)
	if err != nil {
		message := explain(err, "The workspace could not be started.")
		return found(c, workspace.Broken, message), fmt.Errorf("start the instance: %w", err)
	}
	out := found(c, workspace.Provisioned, "")
	out.fact.Address = instance.Address
	return out, nil
}

// explain returns what the workspace's owner reads about an error: its message, if
// it is of a kind. All else is for the log alone.
func explain(err error, otherwise string) string {
	if workspace.KindOf(err) == workspace.Internal {
		return otherwise + " The server's log says why."
	}
	return workspace.Message(err)
}

// inspect looks whether an instance that should run does. A failed call to the
// driver says nothing about that.
func (r *Reconciler) inspect(ctx context.Context, c workspace.Claim) (outcome, error) {
	instance, err := r.Provisioner.Inspect(ctx, c.ID)
	switch {
	case provision.IsAbsent(err), err == nil && instance.Generation < c.Provisioned:
		return found(c, workspace.Exited, "Its process is gone."), nil
	case err != nil:
		return again(c), fmt.Errorf("inspect the instance: %w", err)
	case instance.State == provision.Exited:
		return found(c, workspace.Exited, exitMessage(instance)), nil
	case c.Status.State == workspace.StateRunning:
		return r.checkHeartbeat(ctx, c)
	}
	if left := time.Until(c.Deadline()); left > 0 {
		return outcome{after: left}, nil
	}
	if err := r.Provisioner.Stop(ctx, c.ID, stopGrace); err != nil {
		return again(c), fmt.Errorf("stop an instance that was not ready in time: %w", err)
	}
	return found(c, workspace.Late, "Its agent was not ready in time."), nil
}

// checkHeartbeat ends an instance that runs, but whose agent is silent. If this server
// could not hear agents for a while, silence says nothing about them.
func (r *Reconciler) checkHeartbeat(ctx context.Context, c workspace.Claim) (outcome, error) {
	if !r.canJudgeSilence() {
		return outcome{after: never}, nil
	}
	silent, err := r.Desk.Silent(ctx)
	if err != nil {
		return again(c), err
	}
	if !slices.Contains(silent, c.ID) {
		return outcome{after: never}, nil
	}
	if err := r.Provisioner.Stop(ctx, c.ID, stopGrace); err != nil {
		return again(c), fmt.Errorf("stop an instance whose agent is silent: %w", err)
	}
	return found(c, workspace.Lost, "Its agent has stopped sending heartbeats."), nil
}

// canJudgeSilence reports whether this server has been able to hear agents for a whole lease
// of theirs, without a break.
func (r *Reconciler) canJudgeSilence() bool {
	since := r.hearsSince.Load()
	return since != nil && time.Since(*since) > workspace.AgentLease
}

func exitMessage(i provision.Instance) string {
	if i.Message != "" {
		return i.Message
	}
	return fmt.Sprintf("Its process ended with exit code %d.", i.ExitCode)
}

// ensureStopped ends the instance of a workspace that should have none: a server that had
// lost its claim may have started it.
func (r *Reconciler) ensureStopped(ctx context.Context, c workspace.Claim) (outcome, error) {
	if err := r.Provisioner.Stop(ctx, c.ID, stopGrace); err != nil {
		return again(c), fmt.Errorf("stop an instance that should not run: %w", err)
	}
	return outcome{after: never}, nil
}

// remove removes the remains of a deleted workspace.
func (r *Reconciler) remove(ctx context.Context, removal workspace.Removal) {
	err := r.Provisioner.Remove(ctx, removal.ID, removal.KeepData)
	if err == nil {
		err = r.Outfitter.Remove(ctx, removal.ID, removal.KeepData)
	}
	stopping := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	switch {
	case err == nil:
		err = r.Desk.Removed(ctx, removal)
	case stopping:
		err = r.Desk.RetryRemoval(ctx, removal, atOnce)
	default:
		err = errors.Join(err, r.Desk.RetryRemoval(ctx, removal, backoff(removal.Attempts)))
	}
	if err != nil && workspace.KindOf(err) != workspace.Conflict {
		r.Log.Error("the remains of a deleted workspace were not removed; the removal will be repeated", "workspace", removal.ID, "error", err)
	}
}

func found(c workspace.Claim, fact workspace.Fact, message string) outcome {
	return outcome{fact: &workspace.Observation{Fact: fact, Generation: c.Generation, Message: message}}
}

// again makes the workspace due again, after a delay that grows with its failures.
func again(c workspace.Claim) outcome { return outcome{after: backoff(c.Attempts)} }

func backoff(attempts int64) time.Duration {
	return min(firstRetry<<min(attempts, 10), lastRetry)
}
