// Package supervisor keeps one program serving: it starts each new build beside
// the running one, hands over when the new one says that it is ready, and
// restarts what dies. The listening sockets are inherited, never closed, so
// that some process accepts every connection, whenever it is made.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"devloop/internal/fingerprint"
	"devloop/internal/process"
)

// tailLines is how much of a failed process's output is shown.
const tailLines = 20

// limits are times that tests shorten.
type limits struct {
	// probation is the time after readiness within which a dying build is rolled back.
	probation time.Duration
	// The pause before a restart that follows on another grows between these.
	minBackoff, maxBackoff time.Duration
}

// A Reporter takes notice of what happens outside of a call.
type Reporter interface {
	// Crashed tells that the serving process died unasked.
	Crashed(pid int, how string, tail []string, rolledBack bool)
	// Restarted tells that a process serves again after Crashed.
	Restarted(pid int, took time.Duration)
	// RestartFailed tells that a restart did not come up; another follows after wait.
	RestartFailed(err error, wait time.Duration)
	// Overran tells that a replaced process did not end within the drain deadline.
	Overran(pid int, deadline time.Duration)
}

// A Supervisor runs the server. Set the exported fields, then call Init.
type Supervisor struct {
	Starter      *process.Starter
	Listeners    []*os.File // passed on as descriptors 3 and up
	RunDir       string     // private directory for sockets
	ReadyTimeout time.Duration
	DrainTimeout time.Duration
	// HandoverTimeout bounds the wait for the old process to say that it has
	// stopped accepting; a program need not say it. Until then, it may answer.
	HandoverTimeout time.Duration
	Output          io.Writer // what the server prints
	Reporter        Reporter
	// BeforeStop, if it is set, is called before the supervisor stops a process,
	// while that process and its successor both serve.
	BeforeStop func(pid int)
	// Debugging, if it is set, reports whether someone debugs the process: a
	// debugger must see the new line numbers.
	Debugging func() bool

	limits limits
	hasher fingerprint.Hasher
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	killed chan struct{} // closed when Close no longer waits for processes
	tasks  sync.WaitGroup

	change   sync.Mutex // held while the serving process is being changed
	spawned  int
	retained *binaries

	mu            sync.Mutex // guards what follows
	serving       *child
	previous      *child // the good one before serving; its process may be gone
	restarting    *child // the build that takes the place of a dead process
	rejected      rejection
	crashes       int // of this build in a row, each within the probation
	swaps         int // running or waiting; a restart lets them go first
	cancelRestart context.CancelFunc
	changed       chan struct{} // closed and replaced whenever serving or swaps changes
}

// A rejection is a build that did not start or did not last.
type rejection struct {
	sum     fingerprint.Sum
	command Command
}

// Init prepares the supervisor for use.
func (s *Supervisor) Init() {
	s.limits = limits{
		probation:  5 * time.Second,
		minBackoff: 100 * time.Millisecond, maxBackoff: 5 * time.Second,
	}
	s.hasher = fingerprint.New()
	s.killed = make(chan struct{})
	s.retained = newBinaries(s.RunDir)
	s.changed = make(chan struct{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
}

// A StartError is a new build that did not come up.
type StartError struct {
	Reason string
	Tail   []string // the last lines that it printed
}

func (e *StartError) Error() string { return "the new build " + e.Reason }

// An Outcome says what a Swap did.
type Outcome int

// What Swap can do.
const (
	Unchanged   Outcome = iota // the same program serves already
	LineNumbers                // only positions differ: not worth a restart
	Rejected                   // the same build failed before and was not tried again
	Swapped
)

// A Swap is the result of Supervisor.Swap.
type Swap struct {
	Outcome Outcome
	PID     int           // the process that serves, or 0
	Revived bool          // no process served before
	Start   time.Duration // from exec to readiness
	Handed  time.Duration // until the old process accepts nothing any more
}

// Swap makes the command's binary the one that serves. The old process serves
// until the new one is ready. With retry, a build that failed before is tried
// again. On any error the old process keeps serving; the error is a *StartError if
// the new process failed, or the context's cause.
func (s *Supervisor) Swap(ctx context.Context, c Command, retry bool) (Swap, error) {
	return s.swap(ctx, c, func(sum fingerprint.Sum) (*child, Outcome) { return s.compare(c, sum, retry) })
}

// Replace is Swap, even if the same program serves already.
func (s *Supervisor) Replace(ctx context.Context, c Command) (Swap, error) {
	return s.swap(ctx, c, func(fingerprint.Sum) (*child, Outcome) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.serving, Swapped
	})
}

func (s *Supervisor) swap(ctx context.Context, c Command, decide func(fingerprint.Sum) (*child, Outcome)) (Swap, error) {
	s.beginSwap()
	defer s.endSwap()
	s.change.Lock()
	defer s.change.Unlock()
	if err := context.Cause(ctx); err != nil {
		return Swap{}, err
	}
	binary, err := s.retained.keep(c.Path)
	if err != nil {
		return Swap{}, err
	}
	defer s.tidy()
	sum, err := s.hasher.File(binary)
	if err != nil {
		return Swap{}, err
	}
	old, outcome := decide(sum)
	if outcome != Swapped {
		return Swap{Outcome: outcome, PID: old.pid()}, nil
	}

	began := time.Now()
	next, err := s.bringUp(ctx, c, binary, sum)
	if err != nil {
		if _, failed := errors.AsType[*StartError](err); failed {
			s.reject(sum, c)
		}
		return Swap{}, err
	}
	ready := time.Now()
	s.promote(next)
	if old != nil {
		s.retire(old)
		select {
		case <-old.notify.Stopping():
		case <-old.Done():
		case <-time.After(s.HandoverTimeout):
		}
	}
	return Swap{Swapped, next.PID(), old == nil, ready.Sub(began), time.Since(ready)}, nil
}

// compare decides what a swap to this build must do.
func (s *Supervisor) compare(c Command, sum fingerprint.Sum, retry bool) (*child, Outcome) {
	exact := s.Debugging != nil && s.Debugging()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.serving
	switch {
	case old != nil && old.command.equal(c) && old.sum.Whole == sum.Whole:
		return old, Unchanged
	case !exact && old != nil && old.command.equal(c) && old.sum.Code == sum.Code:
		return old, LineNumbers
	case !retry && s.rejected.sum == sum && s.rejected.command.equal(c):
		return old, Rejected
	}
	return old, Swapped
}

func (s *Supervisor) reject(sum fingerprint.Sum, c Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = rejection{sum, c}
}

// tidy drops the binaries that no restart can need; s.change is held.
func (s *Supervisor) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retained.keepOnly(s.serving, s.previous, s.restarting)
}

// bringUp starts a process and waits until it is ready to accept.
func (s *Supervisor) bringUp(ctx context.Context, c Command, binary string, sum fingerprint.Sum) (*child, error) {
	p, err := s.spawn(c, binary, sum)
	if err != nil {
		return nil, &StartError{Reason: "cannot be run: " + err.Error()}
	}
	deadline := time.NewTimer(s.ReadyTimeout)
	defer deadline.Stop()
	var reason string
	select {
	case <-p.notify.Ready():
		p.readyAt = time.Now()
		p.output.pass()
		return p, nil
	case <-p.Done():
		reason = "ended before it was ready (" + p.State().String() + ")"
	case <-deadline.C:
		reason = fmt.Sprintf("was not ready within %v (it must send READY=1 to $NOTIFY_SOCKET)", s.ReadyTimeout)
	case <-ctx.Done():
	}
	p.Kill()
	p.notify.Close()
	if reason == "" {
		return nil, context.Cause(ctx)
	}
	return nil, &StartError{reason, p.output.lastLines(tailLines)}
}

// promote makes a new build's process, which is ready, the serving one.
func (s *Supervisor) promote(p *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != nil {
		s.previous = s.serving
	}
	s.rejected = rejection{}
	s.crashes = 0 // those were another build's
	s.serve(p)
}

// serve notes which process serves from now on and watches over it; s.mu is held.
func (s *Supervisor) serve(p *child) {
	s.serving, s.restarting = p, nil
	s.announce()
	s.tasks.Go(func() { s.watch(p) })
}

// announce wakes everyone who waits for a change; s.mu is held.
func (s *Supervisor) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// retire asks a process to stop, and kills it after the drain deadline.
func (s *Supervisor) retire(p *child) {
	if s.BeforeStop != nil {
		s.BeforeStop(p.PID())
	}
	_ = p.Terminate()
	s.tasks.Go(func() {
		deadline := time.NewTimer(s.DrainTimeout)
		defer deadline.Stop()
		select {
		case <-p.Done():
		case <-deadline.C:
			s.Reporter.Overran(p.PID(), s.DrainTimeout)
			p.Kill()
		case <-s.killed:
			p.Kill()
		}
	})
}
