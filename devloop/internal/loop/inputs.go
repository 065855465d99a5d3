package loop

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"devloop/internal/gobuild"
	"devloop/internal/source"
)

// known is what the loop knows of the files that the build reads. The go
// command tells, which takes some time, so it is asked after a build.
type known struct {
	set     source.Set
	request gobuild.Request // whose files these are
	listed  bool            // the go command has told
	broken  bool            // while the build failed
	tree    source.Tree     // the state when it was asked
	headers map[string]source.Header
}

// inputs returns the set of files to look at. After a failed build it has all
// sources of the modules, since anything may mend it.
func (l *Loop) inputs() source.Set {
	s := l.known.set
	if l.known.listed && l.failure == "" {
		s.Modules = nil
	}
	s.Ignore = l.Ignore
	return s
}

// scan looks at the files that the build reads.
func (l *Loop) scan() (tree source.Tree, generation int, err error) {
	l.mu.Lock()
	s, generation := l.inputs(), l.generation
	l.mu.Unlock()
	tree, err = s.Scan()
	return tree, generation, err
}

// edits returns the sources, and what changed in them since the latest build began.
func (l *Loop) edits() (source.Tree, []source.Change, error) {
	for {
		tree, generation, err := l.scan()
		l.mu.Lock()
		started, fits := l.started, generation == l.generation
		l.mu.Unlock()
		if err != nil || fits {
			return tree, tree.Since(started), err
		}
	}
}

// rebase makes the noted states comparable with those of the present set, which
// has just become another one; l.mu is held.
func (l *Loop) rebase() {
	l.generation++
	if l.started == nil {
		return
	}
	s := l.inputs()
	now, err := s.Scan()
	if err != nil {
		return
	}
	l.started = l.started.Onto(&s, now, l.began)
	if l.finished != nil {
		l.finished = l.finished.Onto(&s, now, l.began)
	}
}

// relist asks the go command again which files the build reads, unless no edit
// can have changed that. It returns at once.
func (l *Loop) relist() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.listing != nil || l.build == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.listing = func() { cancel(); <-done }
	go func() {
		defer close(done)
		defer cancel()
		for l.list(ctx) {
		}
	}()
}

// list does one round of relist, and reports whether another one is due.
func (l *Loop) list(ctx context.Context) bool {
	l.mu.Lock()
	request, before, broken := l.request(), l.known, l.failure != ""
	l.mu.Unlock()
	tree, err := before.scan()
	if err == nil && before.current(request, tree, broken) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.listing = nil
		return false
	}
	set, err := gobuild.Inputs(ctx, l.Starter, l.Dir, request)
	if ctx.Err() != nil {
		return false
	}
	after := known{set: set, request: request, listed: err == nil, broken: broken}
	if err != nil {
		// The go command did not get far enough: keep what is known as well.
		after.set.Packages = append(after.set.Packages, before.set.Packages...)
		after.set.Embeds = append(after.set.Embeds, before.set.Embeds...)
		after.set.Files = append(after.set.Files, before.set.Files...)
	}
	after.read(tree)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = after
	l.rebase()
	if err != nil {
		l.listing = nil
	}
	return err == nil
}

// scan looks at the files that the go command has listed.
func (k *known) scan() (source.Tree, error) {
	s := k.set
	s.Modules = nil
	return s.Scan()
}

// read notes the state of the files. Before is the one from before the go
// command was asked: what has been edited since does not count as known.
func (k *known) read(before source.Tree) {
	k.headers = make(map[string]source.Header)
	k.tree, _ = k.scan()
	for name, now := range k.tree {
		then, ok := before[name]
		if filepath.Ext(name) != ".go" || ok && then != now {
			continue
		}
		if h, err := source.HeaderOf(k.set.Path(name)); err == nil {
			k.headers[name] = h
		}
	}
}

// current reports whether the files are still those that the build reads, given
// their state now.
func (k *known) current(r gobuild.Request, now source.Tree, broken bool) bool {
	if !k.listed || !k.request.Same(r) || k.broken && !broken {
		return false
	}
	for _, c := range now.Since(k.tree) {
		if c.New || c.At.IsZero() {
			return false
		}
		if slices.Contains(k.set.Files, k.set.Path(c.Path)) {
			return false
		}
		if filepath.Ext(c.Path) != ".go" {
			continue
		}
		header, err := source.HeaderOf(k.set.Path(c.Path))
		if old, ok := k.headers[c.Path]; err != nil || !ok || old != header {
			return false
		}
	}
	return true
}

// same reports whether the sources are those that the latest build began with,
// and the request is the same, so that there is nothing to build.
func (l *Loop) same(r gobuild.Request) bool {
	l.mu.Lock()
	same := l.build != nil && l.started != nil && l.build.Same(r) && l.again.at.IsZero()
	good := same && l.failure == "" && l.cycle.ended()
	l.mu.Unlock()
	if good {
		output, err := r.Output()
		if _, missing := os.Stat(output); err != nil || missing != nil {
			return false
		}
	}
	if !same {
		return false
	}
	_, changes, err := l.edits()
	return err == nil && len(changes) == 0
}
