package events

import (
	"context"
	"sync"

	"workspace-server/internal/workspace"
)

const (
	// atOnce is how many events one read of the database returns at most.
	atOnce = 200

	// held is how many of the newest events a tail holds in memory. A reader
	// that is further behind reads the database alone.
	held = 1000
)

// A Tail serves readers that read at about the same place, the newest: what one
// of them reads from the database is there for the others. Only the database
// says that there is nothing more to read.
type Tail struct {
	log     workspace.EventLog
	reading chan struct{} // holds an element while a reader reads at the end of items

	mu    sync.Mutex
	items []workspace.Event // without a gap
	start int64             // the number before the first item's
}

// NewTail returns a tail of the events in log.
func NewTail(log workspace.EventLog) *Tail {
	return &Tail{log: log, reading: make(chan struct{}, 1)}
}

// A Batch is the next events from some place on. Callers must not change it.
type Batch struct {
	Events []workspace.Event
	// UpTo is the number to continue from: up to it there are no other events
	// for this reader. A reader that may see few events is not behind for it.
	UpTo int64
	More bool // there may be more events already
}

// After returns the next events after a number, of one workspace, or of all if
// that is empty. It fails as workspace.EventLog does.
func (t *Tail) After(ctx context.Context, of string, after int64) (Batch, error) {
	if found := t.recent(after); len(found) > 0 {
		return batch(of, after, found), nil
	}
	behind, last, err := t.behind(ctx, of, after)
	if err != nil {
		return Batch{}, err
	}
	if behind {
		return t.apart(ctx, of, after, last)
	}
	select {
	case t.reading <- struct{}{}:
		defer func() { <-t.reading }()
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	}
	// The previous reader may have found what this one wants.
	if found := t.recent(after); len(found) > 0 {
		return batch(of, after, found), nil
	}
	found, err := t.log.Events(ctx, "", after, atOnce)
	if err != nil {
		return Batch{}, err
	}
	t.hold(after, found)
	return batch(of, after, found), nil
}

// recent returns the next events after a number if they are in memory.
func (t *Tail) recent(after int64) []workspace.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after < t.start || after >= t.end() {
		return nil
	}
	found := t.items[after-t.start:]
	return found[:min(len(found), atOnce)]
}

// end returns the number of the last event in memory. The caller holds the mutex.
func (t *Tail) end() int64 { return t.start + int64(len(t.items)) }

// hold takes the events that follow a number into memory.
func (t *Tail) hold(after int64, found []workspace.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after != t.end() {
		t.items, t.start = nil, after
	}
	t.items = append(t.items, found...)
	if n := len(t.items) - held; n > 0 {
		t.items, t.start = t.items[n:], t.start+int64(n)
	}
}

// behind reports whether a reader is so far behind that it must read alone. It
// also returns the newest event's number if it had to ask for it, else 0.
func (t *Tail) behind(ctx context.Context, of string, after int64) (behind bool, last int64, err error) {
	t.mu.Lock()
	start, end := t.start, t.end()
	t.mu.Unlock()
	switch {
	case after == end && after > 0:
		return false, 0, nil
	case of == "" && after != workspace.Oldest:
		return after < start, 0, nil
	}
	last, err = t.log.LastEvent(ctx)
	return after < start || last-after > atOnce, last, err
}

// apart reads for one reader that is behind. last is the newest event's number,
// 0 if that is not known.
func (t *Tail) apart(ctx context.Context, of string, after, last int64) (Batch, error) {
	found, err := t.log.Events(ctx, of, after, atOnce)
	if err != nil {
		return Batch{}, err
	}
	b := Batch{Events: found, UpTo: max(after, last), More: len(found) == atOnce}
	if n := len(found); b.More || n > 0 && found[n-1].Seq > b.UpTo {
		b.UpTo = found[n-1].Seq
	}
	return b, nil
}

// batch returns what one reader may see of events without a gap.
func batch(of string, after int64, found []workspace.Event) Batch {
	b := Batch{Events: found, UpTo: after, More: len(found) == atOnce}
	if n := len(found); n > 0 {
		b.UpTo = found[n-1].Seq
	}
	if of == "" {
		return b
	}
	b.Events = []workspace.Event{}
	for _, e := range found {
		if e.Workspace == of {
			b.Events = append(b.Events, e)
		}
	}
	return b
}
