package supervisor

import (
	"context"
	"slices"
	"time"
)

// maxOld is how many processes may stay that were replaced longer ago than the
// stop timeout.
const maxOld = 4

// An Old process was replaced and still has something to do.
type Old struct {
	PID      int
	Replaced time.Time
	Until    time.Time // when it is ended whatever it has to do
	Load
}

// A departure is the end of a process that was replaced.
type departure struct {
	*child
	began, until time.Time
	giveWay      context.CancelFunc
	gaveWay      bool
}

// Old returns the processes that were replaced and have not ended, the oldest
// first.
func (s *Supervisor) Old() []Old {
	s.mu.Lock()
	leaving, way := slices.Clone(s.leaving), s.way
	s.mu.Unlock()
	out := make([]Old, 0, len(leaving))
	for _, d := range leaving {
		out = append(out, Old{d.PID(), d.began, d.until, way.load(d.child)})
	}
	return out
}

// depart has a process end that was replaced. It may go on with what it has for as
// long as limit says.
func (s *Supervisor) depart(p *child, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	d := &departure{child: p, began: time.Now(), until: time.Now().Add(limit), giveWay: cancel}
	s.mu.Lock()
	s.leaving = append(s.leaving, d)
	way := s.way
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leaving = slices.DeleteFunc(s.leaving, func(other *departure) bool { return other == d })
	}()
	done := make(chan struct{})
	defer close(done)
	go s.attend(d, done)

	left := way.leave(ctx, p)
	if left == (Load{}) && p.Exited() {
		return
	}
	s.mu.Lock()
	gaveWay := d.gaveWay
	s.mu.Unlock()
	switch {
	case gaveWay:
		s.Reporter.GaveWay(p.PID(), left.String())
	case left == (Load{}):
		s.Reporter.Overran(p.PID(), s.StopTimeout, "")
	default:
		if s.ctx.Err() != nil {
			limit = time.Since(d.began).Round(time.Second)
		}
		s.Reporter.Overran(p.PID(), limit, left.String())
	}
	p.Kill()
}

// attend looks after a departure until that is done: it says that the process
// stays for long, and ends it early when the loop ends.
func (s *Supervisor) attend(d *departure, done <-chan struct{}) {
	long := time.NewTimer(s.StopTimeout)
	defer long.Stop()
	var last <-chan time.Time
	ended := s.ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-s.killed:
			d.Kill()
			return
		case <-long.C:
			s.stays(d)
		case <-ended:
			ended = nil
			last = time.After(s.StopTimeout)
		case <-last:
			d.giveWay()
		}
	}
}

// stays says that a process has not ended within the stop timeout, and has the
// oldest of too many give way.
func (s *Supervisor) stays(d *departure) {
	s.mu.Lock()
	way := s.way
	var old []*departure
	for _, other := range s.leaving {
		if time.Since(other.began) >= s.StopTimeout && !other.gaveWay {
			old = append(old, other)
		}
	}
	if len(old) > maxOld {
		old[0].gaveWay = true
		old[0].giveWay()
	}
	s.mu.Unlock()
	if load := way.load(d.child); load != (Load{}) && s.ctx.Err() == nil {
		s.Reporter.Stays(d.PID(), load.String(), d.until)
	}
}
