package loop

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"devloop/internal/source"
)

// Sweep looks at the sources now and then, and reloads when air did not report
// an edit: of a file that air does not watch, of one written at the same moment
// as its directory, or any edit where the file system sends no events. There it
// looks more often, and says so. It also builds again after a failure that may
// have passed. It returns when ctx is done.
func (l *Loop) Sweep(ctx context.Context) {
	var s sweeper
	w := newWitness()
	defer w.close()
	wait := s.pace().interval
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		began := time.Now()
		w.listen()
		tree, changes := l.missed()
		next := s.step(look{tree, changes, w.silent(l, tree, changes), time.Since(began)})
		if next.notice {
			l.Printer.Notice("air missed this edit (the file system sends no events of it): polling the sources from now on")
		}
		if next.build || l.due() {
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
//	edited, and not for air to see      build                          build
//	the same edit at the next look      build; if the file system told
//	                                    nothing, say so and get busy
//
// An edit that the file system tells of makes it relaxed again. It reads
// neither files nor the clock.
type sweeper struct {
	busy bool        // the file system sends no events
	said bool        // and the user knows
	seen source.Tree // the edit that air was given time for, or nil
}

// A look is what one look at the sources found.
type look struct {
	tree    source.Tree // the sources
	changes []source.Change
	silent  bool // the file system has told nothing of the changes
	took    time.Duration
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
	if len(l.changes) == 0 {
		s.seen = nil
		return move{wait: s.pace().after(l.took)}
	}
	if !l.silent {
		s.busy = false
	}
	if !s.busy && !s.sawThis(l.tree) && slices.ContainsFunc(l.changes, forAir) {
		s.seen = l.tree
		return move{wait: patience}
	}
	s.seen = nil
	s.busy = l.silent
	notice := l.silent && !s.said
	s.said = s.said || notice
	return move{wait: s.pace().after(l.took), build: true, notice: notice}
}

// forAir reports whether air may be about to report a change: it watches the
// directories below the one it runs in.
func forAir(c source.Change) bool {
	switch filepath.Ext(c.Path) {
	case ".go", ".mod", ".sum", ".work":
		return !filepath.IsAbs(c.Path)
	}
	return false
}

// sawThis reports whether the previous look found the same edit.
func (s *sweeper) sawThis(tree source.Tree) bool {
	return s.seen != nil && len(tree.Since(s.seen)) == 0
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
	return pace{400 * time.Millisecond, 50}
}

// after returns the pause after a look.
func (p pace) after(took time.Duration) time.Duration { return max(p.interval, p.share*took) }

// missed returns the sources and what changed in them since the latest build
// began, and nothing while a build runs.
func (l *Loop) missed() (source.Tree, []source.Change) {
	l.mu.Lock()
	idle := l.started != nil && l.build != nil && l.cycle.ended() && !l.commands.writing
	l.mu.Unlock()
	if !idle {
		return nil, nil
	}
	tree, changes, err := l.edits()
	if err != nil {
		return nil, nil
	}
	return tree, changes
}

// A witness knows whether the file system sends events of edits, as air needs
// them. That air says nothing of an edit proves little: it may be slow, or
// leave out a directory on purpose.
type witness struct {
	events     *source.Events // nil where there are none to be had
	generation int            // of the set whose directories are watched
}

func newWitness() *witness {
	events, err := source.NewEvents()
	if err != nil {
		return &witness{}
	}
	return &witness{events: events, generation: -1}
}

func (w *witness) close() {
	if w.events != nil {
		w.events.Close()
	}
}

// listen takes what the file system tells. It comes before a look.
func (w *witness) listen() {
	if w.events != nil {
		w.events.Look()
	}
}

// silent reports whether the file system has told nothing of what a look found.
func (w *witness) silent(l *Loop, tree source.Tree, changes []source.Change) bool {
	l.mu.Lock()
	s, generation, reported := l.inputs(), l.generation, l.asked > 1 // the first build is asked for at the start
	l.mu.Unlock()
	if w.events == nil {
		return !reported
	}
	if tree != nil && len(changes) == 0 {
		w.events.Calm()
	}
	if tree != nil && generation != w.generation {
		w.generation = generation
		w.events.Watch(s.Directories(tree))
		return false // what was before is not known
	}
	return slices.ContainsFunc(changes, func(c source.Change) bool {
		path := s.Path(c.Path)
		info, err := os.Lstat(path)
		// Of the target of a link, another directory's events tell.
		return err == nil && info.Mode().IsRegular() && w.events.Silent(filepath.Dir(path))
	})
}
