// Package supervisor keeps one program serving: it starts each new build beside
// the running one, hands over when the new one says that it is ready, and
// restarts what dies. The listening sockets are inherited, never closed, so
// that some process accepts every connection, whenever it is made.
package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"devloop/internal/fingerprint"
	"devloop/internal/forward"
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
	// Chosen tells in which mode the server runs, once it does.
	Chosen(mode, how string)
	// Stays tells that a replaced process has requests that take long.
	Stays(pid int, has string, until time.Time)
	// Overran tells that a replaced process was killed, and what that cut.
	Overran(pid int, after time.Duration, cut string)
	// GaveWay tells the same of the oldest of too many.
	GaveWay(pid int, cut string)
}

// A Supervisor runs the server. Set the exported fields, then call Init.
type Supervisor struct {
	Starter      *process.Starter
	Listeners    []*os.File // passed on as descriptors 3 and up
	Names        []string   // of the listeners, for LISTEN_FDNAMES, or nil
	Mode         Mode       // "" is Socket
	Backends     []string   // where the server listens in mode Fixed, one for each listener
	Setenv       []string   // variables for the server, with placeholders
	ReadyPath    string     // that the server answers once it is ready, in the modes Forward and Fixed
	RunDir       string     // private directory for sockets
	ReadyTimeout time.Duration
	// DrainTimeout is how long a replaced process may go on with the requests that
	// it has, StopTimeout how long one may take that has none.
	DrainTimeout, StopTimeout time.Duration
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

	held   []string // where the listeners listen
	limits limits
	hasher fingerprint.Hasher
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	killed chan struct{} // closed when nobody waits for processes any longer
	kill   func()        // closes killed
	tasks  sync.WaitGroup

	change   sync.Mutex // held while the serving process is being changed
	spawned  int
	retained *binaries

	mu            sync.Mutex // guards what follows
	way           way        // changed while change is held, too
	told          bool       // in which mode the server runs
	leaving       []*departure
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
	s.StopTimeout = cmp.Or(s.StopTimeout, s.DrainTimeout)
	s.hasher = fingerprint.New()
	s.killed = make(chan struct{})
	s.kill = sync.OnceFunc(func() { close(s.killed) })
	s.retained = newBinaries(s.RunDir)
	s.changed = make(chan struct{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, f := range s.Listeners {
		s.held = append(s.held, addressOf(f))
	}
	s.way = s.newWay()
}

// newWay returns what the mode wants.
func (s *Supervisor) newWay() way {
	accept := func() (*doors, error) {
		return openDoors(s.Listeners, forward.Options{Unanswered: s.DrainTimeout})
	}
	forwarding := forwardWay{readyPath: s.ReadyPath, stopTimeout: s.StopTimeout, accept: accept}
	switch s.Mode {
	case Forward:
		return &forwarding
	case Fixed:
		return &fixedWay{forwarding, s.Backends}
	case Auto:
		return &autoWay{newSocketWay(s), forwarding}
	default:
		return newSocketWay(s)
	}
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

	if old != nil && s.way.alone() {
		return s.exchange(ctx, old, build{c, binary, sum})
	}
	began := time.Now()
	next, err := s.tryOut(ctx, build{c, binary, sum})
	if err != nil {
		return Swap{}, err
	}
	ready := time.Now()
	s.promote(next)
	if old != nil {
		s.retire(old)
	}
	return Swap{Swapped, next.PID(), old == nil, ready.Sub(began), time.Since(ready)}, nil
}

// A build is a program that can be started.
type build struct {
	command Command
	binary  string
	sum     fingerprint.Sum
}

// tryOut is bringUp for a build that is rejected if it fails.
func (s *Supervisor) tryOut(ctx context.Context, b build) (*child, error) {
	next, err := s.bringUp(ctx, b)
	if _, failed := errors.AsType[*StartError](err); failed {
		s.reject(b.sum, b.command)
	}
	return next, err
}

// exchange is a swap to a process that cannot start before the old one has ended.
// If the new one does not come up, the old build is started again.
func (s *Supervisor) exchange(ctx context.Context, old *child, b build) (Swap, error) {
	began := time.Now()
	s.stepDown(old)
	s.beforeStop(old)
	s.depart(old, s.StopTimeout) // others wait
	gone := time.Now()
	err := context.Cause(ctx)
	var next *child
	if err == nil {
		next, err = s.tryOut(ctx, b)
	}
	if err != nil {
		s.bringBack(old)
		return Swap{}, err
	}
	s.promote(next)
	return Swap{Swapped, next.PID(), false, time.Since(gone), gone.Sub(began)}, nil
}

// stepDown has a process serve no longer whose successor has not been started.
func (s *Supervisor) stepDown(p *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != p { // it has just died
		return
	}
	s.serving, s.previous, s.restarting = nil, p, p
	s.way.lead(nil)
	s.announce()
}

// bringBack starts a build again that had to end. If it does not come up, it is
// restarted like one that has died.
func (s *Supervisor) bringBack(old *child) {
	if s.ctx.Err() != nil {
		return
	}
	again, err := s.revive(s.ctx, old)
	if err != nil {
		s.mu.Lock()
		s.restarting = old
		s.mu.Unlock()
		s.tasks.Go(func() { s.restart(old) })
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve(again)
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

// bringUp starts a process and waits until it can be reached.
func (s *Supervisor) bringUp(ctx context.Context, b build) (*child, error) {
	p, err := s.spawn(b)
	if err != nil {
		return nil, &StartError{Reason: "cannot be run: " + err.Error()}
	}
	v, reason := s.await(ctx, p)
	if v.ready {
		s.arrived(p, v)
		return p, nil
	}
	p.Kill()
	p.notify.Close()
	if reason == "" {
		return nil, context.Cause(ctx)
	}
	return nil, &StartError{reason, p.output.lastLines(tailLines)}
}

// await looks at a process until it can be reached. If it cannot, the reason says
// why, and is empty if ctx is done.
func (s *Supervisor) await(ctx context.Context, p *child) (v verdict, reason string) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.ReadyTimeout, errLate)
	defer cancel()
	tick := time.NewTicker(s.way.pace())
	defer tick.Stop()
	ready := p.notify.Ready()
	said := false
	for {
		select {
		case <-ready:
			ready, said = nil, true
		case <-tick.C:
		case <-p.Done():
			return verdict{}, s.ended(p)
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errLate) {
				v := s.way.look(ctx, p, said)
				if v.ready {
					return v, ""
				}
				return verdict{}, fmt.Sprintf("was not ready within %v (%s)", s.ReadyTimeout, v.why)
			}
			return verdict{}, ""
		}
		switch v := s.way.look(ctx, p, said); {
		case v.ready:
			return v, ""
		case v.failed:
			return verdict{}, v.why
		}
	}
}

// errLate ends the wait for a process.
var errLate = errors.New("the ready timeout is over")

// ended says how a process ended that was never reached.
func (s *Supervisor) ended(p *child) string {
	tail := p.output.lastLines(tailLines)
	if address := takenByLoop(tail, s.held); address != "" {
		return fmt.Sprintf("wants to listen on %s, which devloop holds: give devloop another address, as in -listen 127.0.0.1:0", address)
	}
	return "ended before it was ready (" + p.State().String() + ")"
}

// arrived notes that a process can be reached, and says how, the first time.
func (s *Supervisor) arrived(p *child, v verdict) {
	p.readyAt = time.Now()
	s.mu.Lock()
	if v.way != nil {
		s.way = v.way
	}
	first := !s.told
	s.told = true
	way := s.way
	s.mu.Unlock()
	if first {
		s.Reporter.Chosen(string(way.mode()), way.describe(v.unsaid))
	}
	p.output.pass()
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
	s.way.lead(p)
	s.announce()
	s.tasks.Go(func() { s.watch(p) })
}

// announce wakes everyone who waits for a change; s.mu is held.
func (s *Supervisor) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// retire has a process leave whose successor serves, and returns once it takes
// no more connections, if that can be known.
func (s *Supervisor) retire(p *child) {
	s.beforeStop(p)
	s.tasks.Go(func() { s.depart(p, s.DrainTimeout) })
	passed := s.way.passed(p)
	if passed == nil {
		return
	}
	select {
	case <-passed:
	case <-p.Done():
	case <-time.After(s.HandoverTimeout):
	}
}

func (s *Supervisor) beforeStop(p *child) {
	if s.BeforeStop != nil {
		s.BeforeStop(p.PID())
	}
}
