// Package loop turns edits into reloads: one build at a time, of which the
// newest wins, and a swap when it changed the program.
package loop

import (
	"context"
	"errors"
	"sync"
	"time"

	"devloop/internal/gobuild"
	"devloop/internal/process"
	"devloop/internal/report"
	"devloop/internal/source"
	"devloop/internal/supervisor"
)

// errSuperseded ends a reload that a later edit has overtaken.
var errSuperseded = errors.New("superseded by a later edit")

// A Loop reloads a server. Set the exported fields before first use.
type Loop struct {
	Dir      string // absolute root of the module that is built
	Announce string // where the server is reached, for the first line
	Starter  *process.Starter
	Server   *supervisor.Supervisor
	Printer  *report.Printer
	// Ignore, if it is set, reports which files the user wants to start nothing,
	// by their names relative to Dir.
	Ignore func(name string) bool
	// Watches returns the extensions of the files that air watches, and the
	// directories that it leaves out. It must be set for Command.
	Watches func() (exts, skip []string)

	mu        sync.Mutex
	cycle     *cycle // the latest
	through   *cycle // the latest that edits do not cancel
	overtaken int    // builds in a row that edits have cancelled
	build     *gobuild.Request
	run       *supervisor.Command
	known     known
	listing   func() // ends what relist has begun, if it runs
	// generation changes when trees of before cannot be compared with those of after.
	generation int
	began      time.Time   // of the latest build
	started    source.Tree // sources when it began
	finished   source.Tree // sources of the latest build that was not superseded
	failure    string      // what the latest build or start said, if it failed
	code       int         // of the latest build that was not superseded
	again      again
	commands   commands
	shells     []shell // that run, or have ended
	cgo        bool    // the build needs cgo, and the request has it off
	reloads    int
	asked      int // builds that air asked for
	closed     bool
}

// A cycle is one reload, from its trigger to its end.
type cycle struct {
	trigger trigger
	cancel  context.CancelCauseFunc
	done    chan struct{}
	began   time.Time // when its build began, if it has
	code    int       // exit code for the caller of the build
	err     error     // why the program that was asked for does not serve
}

// A trigger is what begins a cycle.
type trigger int

const (
	rerun   trigger = iota // air runs the binary once more
	edit                   // the sources may have changed
	restart                // a debugger wants a new process, changed or not
)

// Build runs the build and, if that changed the program, the swap. It returns
// an exit code once no later build has overtaken it.
func (l *Loop) Build(r gobuild.Request) int {
	l.mu.Lock()
	l.asks()
	l.mu.Unlock()
	same := l.same(r)
	l.mu.Lock()
	l.asked++
	if same {
		l.mu.Unlock()
		l.wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.code
	}
	if l.build == nil || !l.build.Same(r) {
		l.known = known{set: gobuild.Base(l.Dir, r)}
		l.build, l.cgo = &r, false
		l.rebase()
	}
	l.start(edit)
	l.mu.Unlock()
	return l.wait().code
}

// Restart builds the program and runs it in a new process, whether or not it
// has changed. It returns once that process serves, or returns why it does not.
func (l *Loop) Restart(ctx context.Context) error { return l.ask(ctx, restart) }

// Refresh makes the latest build serve: one that differs in its line numbers
// alone is not worth a swap before someone debugs it.
func (l *Loop) Refresh(ctx context.Context) error { return l.ask(ctx, rerun) }

func (l *Loop) ask(ctx context.Context, t trigger) error {
	l.mu.Lock()
	ready := l.build != nil && l.run != nil && !l.closed
	// A running cycle ends in its own swap, to sources as new as can be.
	if ready && (t == restart || l.cycle.ended()) {
		l.start(t)
	}
	l.mu.Unlock()
	if !ready {
		return errors.New("the server has not been built yet")
	}
	done := make(chan error, 1)
	go func() { done <- l.wait().err }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run makes c the command that serves.
func (l *Loop) Run(c supervisor.Command) {
	l.mu.Lock()
	l.run = &c
	l.mu.Unlock()
	// A running build ends in its own swap and must not be interrupted.
	l.wait()
	l.mu.Lock()
	if l.cycle == nil || l.cycle.ended() {
		l.start(rerun)
	}
	l.mu.Unlock()
	l.wait()
}

func (c *cycle) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// start begins a cycle in place of the running one; l.mu is held.
func (l *Loop) start(t trigger) {
	if l.closed {
		return
	}
	before := l.cycle
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &cycle{trigger: t, cancel: cancel, done: make(chan struct{})}
	if before != nil && before.trigger == restart && !before.ended() {
		c.trigger = restart // an edit does not revoke it
	}
	l.cycle = c
	if before != nil && before != l.through && !before.ended() {
		if !before.began.IsZero() && time.Since(before.began) >= burst {
			l.overtaken++
		}
		before.cancel(errSuperseded)
	}
	go func() {
		defer close(c.done)
		defer cancel(nil)
		if before != nil {
			<-before.done
		}
		if ctx.Err() != nil {
			c.err = context.Cause(ctx)
			return
		}
		if c.trigger == rerun {
			c.err = l.rerun(ctx)
		} else {
			l.begin(c)
			c.code, c.err = l.reload(ctx, c.trigger == restart)
		}
		if ctx.Err() == nil {
			l.end(c)
		}
	}()
}

const (
	// burst is the time in which saves count as one edit.
	burst = time.Second
	// most is how many builds in a row edits may cancel: whoever saves more often
	// than a build takes would never see one.
	most = 2
)

// begin notes that a cycle builds.
func (l *Loop) begin(c *cycle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.began = time.Now()
	if l.overtaken >= most && !l.closed {
		l.through = c
	}
}

// end notes that a cycle has ended by itself.
func (l *Loop) end(c *cycle) {
	l.mu.Lock()
	if c.trigger != rerun {
		l.code, l.overtaken = c.code, 0
	}
	l.mu.Unlock()
	l.relist()
}

// newer reports whether another cycle waits for the running one.
func (l *Loop) newer() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.through != nil && l.cycle != l.through && !l.through.ended()
}

// wait returns the latest cycle once it has ended and none has overtaken it.
func (l *Loop) wait() *cycle {
	for {
		l.mu.Lock()
		c := l.cycle
		l.mu.Unlock()
		if c == nil {
			return &cycle{}
		}
		<-c.done
		l.mu.Lock()
		latest := l.cycle == c
		l.mu.Unlock()
		if latest {
			return c
		}
	}
}

// A reload is what a cycle with a build knows when it comes to the swap.
type reload struct {
	built   bool
	always  bool // swap although the program has not changed
	began   time.Time
	changes []source.Change
	timing  report.Timing
}

// swap makes the latest build serve.
func (l *Loop) swap(ctx context.Context, r reload) error {
	l.mu.Lock()
	command := l.run
	l.mu.Unlock()
	if command == nil { // air will say what to run
		l.finish(r.built, "")
		return nil
	}
	began := time.Now()
	var s supervisor.Swap
	var err error
	if r.always {
		s, err = l.Server.Replace(ctx, *command)
	} else {
		s, err = l.Server.Swap(ctx, *command, r.built)
	}
	if err != nil {
		l.swapFailed(ctx, err, r)
		return err
	}
	l.settled()
	r.timing.Swap = s.Handed
	r.timing.Start = time.Since(began) - s.Handed
	l.mu.Lock()
	first := l.reloads == 0
	if s.Outcome == supervisor.Swapped {
		l.reloads++
	}
	l.mu.Unlock()
	if s.Outcome == supervisor.Rejected {
		return nil
	}
	if !r.built && s.Outcome != supervisor.Swapped {
		return nil // air runs the binary again after a failed build, which stays failed
	}
	l.finish(r.built, "")
	switch {
	case s.Outcome == supervisor.Swapped && first:
		l.Printer.Serving(l.Announce, s.PID)
	case s.Outcome == supervisor.Swapped && s.Revived && !r.built: // air was quicker than the supervisor
		l.Printer.Restarted(s.PID, r.timing.Start)
	case s.Outcome == supervisor.Swapped:
		l.Printer.Reloaded(r.timing, r.changes, l.newer())
	case len(r.changes) == 0: // no one edited anything
	case s.Outcome == supervisor.LineNumbers:
		l.Printer.Unchanged("only line numbers changed", s.PID, r.changes)
	default:
		l.Printer.Unchanged("same program", s.PID, r.changes)
	}
	return nil
}

// sinceEdit returns how long ago the latest of the changes was made.
func sinceEdit(now time.Time, changes []source.Change) time.Duration {
	const stale = 10 * time.Second // older: not what triggered this reload
	if len(changes) == 0 || changes[0].At.IsZero() {
		return 0
	}
	d := max(0, now.Sub(changes[0].At))
	if d > stale {
		return 0
	}
	return d
}

// A Status is the loop's state.
type Status struct {
	PID      int // the process that serves, or 0
	Reloads  int
	Building bool
	Failure  string
}

// Status returns the loop's state.
func (l *Loop) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{
		PID:      l.Server.Serving(),
		Reloads:  max(0, l.reloads-1), // the first swap is the start
		Building: l.cycle != nil && !l.cycle.ended(),
		Failure:  l.failure,
	}
}

// Close ends the running reload; later ones are refused.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	c, through, listing, shells := l.cycle, l.through, l.listing, l.shells
	l.mu.Unlock()
	for _, s := range shells {
		s.stop()
	}
	stopping := errors.New("the loop is stopping")
	if through != nil {
		through.cancel(stopping)
	}
	if c != nil {
		c.cancel(stopping)
		<-c.done
	}
	if listing != nil {
		listing()
	}
}
