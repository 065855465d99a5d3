package server

import (
	"context"
	"os"
	"syscall"
	"time"
)

// watch waits for the end of a process and restarts it if that was a crash.
func (s *Supervisor) watch(in *instance) {
	<-in.Done()
	in.notify.Close()
	again, rolledBack := s.crashed(in)
	if again == nil {
		return
	}
	s.Reporter.Crashed(in.PID(), in.State().String(), in.output.lastLines(tailLines), rolledBack)
	s.restart(again)
}

// crashed notes the end of a process and returns which build to bring up in
// its place, or nil if nobody has to take it.
func (s *Supervisor) crashed(in *instance) (again *instance, rolledBack bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != in || s.ctx.Err() != nil {
		return nil, false
	}
	s.serving = nil
	s.announce()
	s.restarting = in
	if time.Since(in.readyAt) >= probation {
		s.crashes = 0
		return in, false
	}
	s.crashes++
	// Somebody else's SIGKILL says nothing against the build, unless it recurs.
	bystander := killed(in.State()) && s.crashes == 1
	if !bystander && s.previous != nil && s.previous.binary != in.binary {
		s.rejected = rejection{in.sum, in.command}
		s.restarting = s.previous
	}
	return s.restarting, s.restarting != in
}

func killed(state *os.ProcessState) bool {
	ws, ok := state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// restart brings a build up again, with growing pauses, until something serves.
func (s *Supervisor) restart(dead *instance) {
	began := time.Now()
	s.mu.Lock()
	failures := max(0, s.crashes-1) // the first crash is answered at once
	s.mu.Unlock()
	for ; ; failures++ {
		if failures > 0 && !s.pause(backoff(failures)) {
			return
		}
		next, err := s.restartOnce(dead)
		switch {
		case s.ctx.Err() != nil:
			return
		case err == context.Canceled: // a swap wanted to go first
			failures--
		case err != nil:
			s.Reporter.RestartFailed(err, backoff(failures+1))
		case next == nil:
			return
		default:
			s.Reporter.Restarted(next.PID(), time.Since(began))
			return
		}
	}
}

// restartOnce returns nothing if another process serves already.
func (s *Supervisor) restartOnce(dead *instance) (*instance, error) {
	s.change.Lock()
	defer s.change.Unlock()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.mu.Lock()
	done := s.serving != nil
	s.cancelRestart = cancel
	rejected := s.rejected
	s.mu.Unlock()
	if done {
		return nil, nil
	}
	next, err := s.bringUp(ctx, dead.command, dead.binary, dead.sum)
	if err != nil {
		return nil, err
	}
	s.promote(next)
	s.reject(rejected.sum, rejected.command) // still the build that failed
	return next, nil
}

// interruptRestart lets a swap go before a restart that is under way.
func (s *Supervisor) interruptRestart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancelRestart != nil {
		s.cancelRestart()
	}
}

// pause waits, and reports false if there is nothing left to do after it.
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

func backoff(failures int) time.Duration {
	d := minBackoff
	for range failures - 1 {
		d = min(2*d, maxBackoff)
	}
	return d
}

// Serving returns the process that serves, or 0.
func (s *Supervisor) Serving() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving.pid()
}

// Changed returns a channel that is closed at the next change of Serving.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Close stops the server, waiting at most the drain deadline, and everything
// that the supervisor does; no Swap may be under way. When ctx ends, the
// server is killed.
func (s *Supervisor) Close(ctx context.Context) {
	s.cancel()
	s.change.Lock()
	defer s.change.Unlock()
	s.mu.Lock()
	in := s.serving
	s.mu.Unlock()
	if in != nil {
		s.retire(in)
		defer context.AfterFunc(ctx, in.Kill)()
	}
	s.tasks.Wait()
	s.retained.close()
}
