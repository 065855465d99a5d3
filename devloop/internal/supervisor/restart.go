package supervisor

import (
	"context"
	"errors"
	"time"
)

// watch waits for the end of a process and restarts it if that was a crash.
func (s *Supervisor) watch(p *child) {
	<-p.Done()
	p.notify.Close()
	again, rolledBack := s.crashed(p)
	if again == nil {
		return
	}
	s.Reporter.Crashed(p.PID(), p.State().String(), p.output.lastLines(tailLines), rolledBack)
	s.restart(again)
}

// crashed notes the end of a process and returns which build to bring up in
// its place, or nil if none must.
func (s *Supervisor) crashed(p *child) (again *child, rolledBack bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != p || s.ctx.Err() != nil {
		return nil, false
	}
	s.serving = nil
	s.way.lead(nil)
	s.announce()
	s.restarting = p
	if time.Since(p.readyAt) >= s.limits.probation {
		s.crashes = 0
		s.previous = p // the next build is measured against this one
		return p, false
	}
	s.crashes++
	if s.crashes > forgiven(endOf(p)) && s.previous != nil && s.previous.binary != p.binary {
		s.rejected = rejection{p.sum, p.command}
		s.restarting = s.previous
	}
	return s.restarting, s.restarting != p
}

// restart brings a build up again, with growing pauses, until something serves.
func (s *Supervisor) restart(dead *child) {
	began := time.Now()
	s.mu.Lock()
	failures := max(0, s.crashes-1) // the first crash is answered at once
	s.mu.Unlock()
	for ; ; failures++ {
		if failures > 0 && !s.pause(s.backoff(failures)) {
			return
		}
		next, err := s.restartOnce(dead)
		switch {
		case s.ctx.Err() != nil:
			return
		case errors.Is(err, errOvertaken):
			failures--
		case err != nil:
			if start, ok := errors.AsType[*StartError](err); ok {
				err = errors.New("the server " + start.Reason) // which need not be a new build
			}
			s.Reporter.RestartFailed(err, s.backoff(failures+1))
		case next == nil:
			return
		default:
			s.Reporter.Restarted(next.PID(), time.Since(began))
			return
		}
	}
}

// errOvertaken ends a restart because a swap wants to go first.
var errOvertaken = errors.New("a swap goes first")

// restartOnce returns nil if the dead process no longer needs a successor.
func (s *Supervisor) restartOnce(dead *child) (*child, error) {
	s.awaitSwaps()
	s.change.Lock()
	defer s.change.Unlock()
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	s.mu.Lock()
	over := s.serving != nil || s.restarting != dead || s.ctx.Err() != nil
	overtaken := s.swaps > 0
	s.cancelRestart = func() { cancel(errOvertaken) }
	s.mu.Unlock()
	switch {
	case over:
		return nil, nil
	case overtaken:
		return nil, errOvertaken
	}
	next, err := s.revive(ctx, dead)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve(next)
	return next, nil
}

// revive starts the build of a process that has ended.
func (s *Supervisor) revive(ctx context.Context, dead *child) (*child, error) {
	binary, err := s.retained.find(dead.binary)
	if err != nil {
		return nil, err
	}
	next, err := s.bringUp(ctx, build{dead.command, binary, dead.sum})
	if err != nil {
		return nil, err
	}
	next.binary = dead.binary
	return next, nil
}

// beginSwap makes a running restart give up its turn, as it may last
// until the ready timeout, and later ones wait.
func (s *Supervisor) beginSwap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swaps++
	if s.cancelRestart != nil {
		s.cancelRestart()
	}
}

func (s *Supervisor) endSwap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swaps--
	s.announce()
}

// awaitSwaps returns when no swap runs or waits.
func (s *Supervisor) awaitSwaps() {
	for {
		s.mu.Lock()
		swaps, changed := s.swaps, s.changed
		s.mu.Unlock()
		if swaps == 0 {
			return
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
	}
}

// pause waits, and reports false if there is nothing to do afterwards.
func (s *Supervisor) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-s.ctx.Done():
			return false
		case <-s.Changed():
			if s.Serving() != 0 {
				return false
			}
		}
	}
}

func (s *Supervisor) backoff(failures int) time.Duration {
	d := s.limits.minBackoff
	for range failures - 1 {
		d = min(2*d, s.limits.maxBackoff)
	}
	return d
}

// Serving returns the process that serves, or 0.
func (s *Supervisor) Serving() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving.pid()
}

// Changed returns a channel that is closed when Serving may have changed.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// End has nothing start any more that is not on its way. When ctx ends, what is left
// is killed. Close must follow.
func (s *Supervisor) End(ctx context.Context) {
	s.cancel()
	context.AfterFunc(ctx, s.kill)
}

// Close stops the server, waiting at most the stop timeout for what it has to
// do, and everything that the supervisor does; no Swap may run. When ctx ends,
// what is left is killed. Close is called once.
func (s *Supervisor) Close(ctx context.Context) {
	s.End(ctx)
	s.change.Lock()
	gone := s.way.close()
	s.mu.Lock()
	p := s.serving
	s.way.lead(nil)
	s.mu.Unlock()
	if p != nil {
		s.beforeStop(p)
		s.tasks.Go(func() { s.depart(p, s.StopTimeout) })
	}
	s.change.Unlock() // a restart that has not begun needs it to see that it must not
	s.tasks.Wait()
	gone(s.killed)
	s.retained.close()
}
