// Package loop turns edits into reloads: one build at a time, of which the
// newest wins, and a swap when it changed the program.
package loop

import (
	"context"
	"errors"
	"path/filepath"
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

	mu       sync.Mutex
	cycle    *cycle // the latest
	build    *gobuild.Request
	run      *supervisor.Command
	started  source.Tree // sources when the latest build began
	finished source.Tree // sources of the latest build that was not superseded
	failure  string      // what the latest build or start said, if it failed
	reloads  int
	asked    int // builds that air asked for
	closed   bool
}

// A cycle is one reload, from its trigger to its end.
type cycle struct {
	trigger trigger
	cancel  context.CancelCauseFunc
	done    chan struct{}
	code    int   // exit code for the caller of the build
	err     error // why the program that was asked for does not serve
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
	l.build = &r
	l.asked++
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
	go func() {
		defer close(c.done)
		defer cancel(nil)
		if before != nil {
			before.cancel(errSuperseded)
			<-before.done
		}
		switch {
		case ctx.Err() != nil:
			c.err = context.Cause(ctx)
		case c.trigger == rerun:
			c.err = l.swap(ctx, reload{tree: l.finished})
		default:
			c.code, c.err = l.reload(ctx, c.trigger == restart)
		}
	}()
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
	tree    source.Tree // the sources that were built
	changes []source.Change
	timing  report.Timing
}

// reload builds, then swaps. The code is for air, which asks about the build.
func (l *Loop) reload(ctx context.Context, always bool) (code int, err error) {
	r := reload{built: true, always: always, began: time.Now()}
	tree, err := l.scan()
	if err != nil {
		l.fail(ctx, err)
		return 1, err
	}
	r.tree = tree
	l.mu.Lock()
	l.started = tree
	if l.finished != nil { // at the first build everything would be new
		r.changes = tree.Since(l.finished)
	}
	request := *l.build
	l.mu.Unlock()

	r.timing.Detect = sinceEdit(r.began, r.changes)
	err = gobuild.Run(ctx, l.Starter, request)
	r.timing.Build = time.Since(r.began)
	if err != nil && ctx.Err() == nil && l.outdated(tree) {
		// A file may have been read while an editor had it half written.
		return l.reload(ctx, always)
	}
	if err != nil {
		l.buildFailed(ctx, err, r)
		return 1, err
	}
	return 0, l.swap(ctx, r)
}

// outdated reports whether the sources have changed since.
func (l *Loop) outdated(tree source.Tree) bool {
	now, err := l.scan()
	return err == nil && len(now.Since(tree)) > 0
}

// swap makes the latest build serve.
func (l *Loop) swap(ctx context.Context, r reload) error {
	l.mu.Lock()
	command := l.run
	l.mu.Unlock()
	if command == nil { // air will say what to run
		l.finish(r.tree, "")
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
	l.finish(r.tree, "")
	switch {
	case s.Outcome == supervisor.Swapped && first:
		l.Printer.Serving(l.Announce, s.PID)
	case s.Outcome == supervisor.Swapped && s.Revived && !r.built: // air was quicker than the supervisor
		l.Printer.Restarted(s.PID, r.timing.Start)
	case s.Outcome == supervisor.Swapped:
		l.Printer.Reloaded(r.timing, r.changes)
	case len(r.changes) == 0: // no one edited anything
	case s.Outcome == supervisor.LineNumbers:
		l.Printer.Unchanged("only line numbers changed", s.PID, r.changes)
	default:
		l.Printer.Unchanged("same program", s.PID, r.changes)
	}
	return nil
}

func (l *Loop) buildFailed(ctx context.Context, err error, r reload) {
	compile, ok := errors.AsType[*gobuild.CompileError](err)
	if !ok {
		l.fail(ctx, err)
		return
	}
	// Air may ask twice for one save: the same sources fail the same way.
	if l.finish(r.tree, compile.Error()) {
		l.Printer.BuildFailed(r.timing.Build, l.Server.Serving(), compile.Lines)
	}
}

func (l *Loop) swapFailed(ctx context.Context, err error, r reload) {
	start, ok := errors.AsType[*supervisor.StartError](err)
	if !ok {
		l.fail(ctx, err)
		return
	}
	l.finish(r.tree, start.Error())
	l.Printer.StartFailed(start.Error(), l.Server.Serving(), start.Tail)
}

// fail reports an error unless the cycle was cancelled.
func (l *Loop) fail(ctx context.Context, err error) {
	if ctx.Err() == nil {
		l.Printer.Failed(err, l.Server.Serving())
	}
}

// finish notes how a cycle ended that was not cancelled, and reports whether
// that is news.
func (l *Loop) finish(tree source.Tree, failure string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.failure != failure || len(tree.Since(l.finished)) > 0
	l.finished, l.failure = tree, failure
	return news
}

func (l *Loop) scan() (source.Tree, error) {
	l.mu.Lock()
	build := l.build
	l.mu.Unlock()
	var skip []string
	if build != nil {
		if out, err := build.Output(); err == nil {
			if rel, err := filepath.Rel(l.Dir, filepath.Dir(out)); err == nil && rel != "." {
				skip = append(skip, filepath.ToSlash(rel))
			}
		}
	}
	return source.Scan(l.Dir, skip...)
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
	c := l.cycle
	l.mu.Unlock()
	if c != nil {
		c.cancel(errors.New("the loop is stopping"))
		<-c.done
	}
}
