package loop

import (
	"context"
	"time"

	"devloop/internal/source"
)

// Sweep looks at the sources now and then, and reloads when air did not report
// an edit: a file written at the same moment as its directory, or any edit
// where the file system sends no events. There it looks more often, and says
// so. It returns when ctx is done.
func (l *Loop) Sweep(ctx context.Context) {
	var s sweeper
	wait := s.pace().interval
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		began := time.Now()
		edited, reported := l.missed(), l.events()
		next := s.step(look{edited, reported, time.Since(began)})
		if next.notice {
			l.Printer.Notice("air missed this edit (the file system may send no events): polling the sources from now on")
		}
		if next.build {
			l.mu.Lock()
			l.start(edit)
			l.mu.Unlock()
		}
		wait = next.wait
	}
}

// A sweeper decides what follows from each look at the sources:
//
//	sources                             relaxed                        busy
//	as the latest build began with      -                              -
//	edited since then                   give air time to report it     build
//	the same edit at the next look      build; if air never reported
//	                                    an edit, say so and get busy
//
// The first edit that air reports makes it relaxed again. It reads neither
// files nor the clock.
type sweeper struct {
	busy bool        // the file system seems to send no events
	seen source.Tree // the edit that air was given time for, or nil
}

// A look is what one look at the sources found.
type look struct {
	edited   source.Tree // the sources if they differ from the latest build's, or nil
	reported bool        // air has reported an edit, at any time
	took     time.Duration
}

// A move is what follows from a look.
type move struct {
	wait   time.Duration // until the next look
	build  bool
	notice bool // tell the user that air missed an edit
}

// patience is how long air gets to report an edit.
const patience = 300 * time.Millisecond

// step returns what follows from a look.
func (s *sweeper) step(l look) move {
	if l.reported {
		s.busy = false
	}
	wait := s.pace().after(l.took)
	switch {
	case l.edited == nil:
		s.seen = nil
		return move{wait: wait}
	case !s.busy && !s.sawThis(l.edited):
		s.seen = l.edited
		return move{wait: patience}
	}
	s.seen = nil
	notice := !s.busy && !l.reported
	s.busy = s.busy || notice
	return move{wait: wait, build: true, notice: notice}
}

// sawThis reports whether the previous look found the same edit.
func (s *sweeper) sawThis(edited source.Tree) bool {
	return s.seen != nil && len(edited.Since(s.seen)) == 0
}

// A pace says how often the sources are looked at: interval apart, and rarer
// where a look takes more than one part in share of the time.
type pace struct {
	interval time.Duration
	share    time.Duration
}

func (s *sweeper) pace() pace {
	if s.busy {
		return pace{250 * time.Millisecond, 10}
	}
	return pace{time.Second, 50}
}

// after returns the pause after a look.
func (p pace) after(took time.Duration) time.Duration { return max(p.interval, p.share*took) }

// events reports whether air ever reported an edit.
func (l *Loop) events() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked > 1 // the first build is asked for at the start
}

// missed returns the sources if they differ from those that the latest build
// began with, and nil if they do not or while a build runs.
func (l *Loop) missed() source.Tree {
	l.mu.Lock()
	idle := l.started != nil && l.build != nil && l.cycle.ended()
	started := l.started
	l.mu.Unlock()
	if !idle {
		return nil
	}
	tree, err := l.scan()
	if err != nil || len(tree.Since(started)) == 0 {
		return nil
	}
	return tree
}
