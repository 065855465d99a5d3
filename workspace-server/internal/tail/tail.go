// Package tail reads events for many who read at about the same place, the
// newest: what one of them reads from the database is there for the others.
// That nothing is left to read is told by the database only.
package tail

import (
	"context"
	"sync"

	"workspace-server/internal/workspace"
)

const (
	// atOnce is how many events are read from the database at once.
	atOnce = 200

	// kept is how many of the newest events are kept in memory. Whoever is
	// further behind reads the database by itself.
	kept = 1000
)

// A Tail holds the newest events that were read.
type Tail struct {
	log     workspace.EventLog
	reading chan struct{} // has an element while one reads at the end of items

	mu    sync.Mutex
	items []workspace.Event // without a gap
	start int64             // the number before the first of items
}

// New returns a tail of the events in log.
func New(log workspace.EventLog) *Tail {
	return &Tail{log: log, reading: make(chan struct{}, 1)}
}

// A Batch is the next events from some place on. It must not be changed.
type Batch struct {
	Events []workspace.Event
	// UpTo is the number up to which there are no other events for the reader:
	// who may see few of them must not count as one who is behind.
	UpTo int64
	More bool // there may be more events already
}

// After returns the next events after a number, those of one workspace, or of
// all if that is empty. It fails as workspace.EventLog does.
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
	// Who read before this one may have found what it wants.
	if found := t.recent(after); len(found) > 0 {
		return batch(of, after, found), nil
	}
	found, err := t.log.Events(ctx, "", after, atOnce)
	if err != nil {
		return Batch{}, err
	}
	t.keep(after, found)
	return batch(of, after, found), nil
}

// recent returns the next events after a number, if they are in memory.
func (t *Tail) recent(after int64) []workspace.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after < t.start || after >= t.end() {
		return nil
	}
	found := t.items[after-t.start:]
	return found[:min(len(found), atOnce)]
}

// end is the number of the last event in memory. The caller holds the mutex.
func (t *Tail) end() int64 { return t.start + int64(len(t.items)) }

// keep takes events that were read after a number into memory.
func (t *Tail) keep(after int64, found []workspace.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after != t.end() {
		t.items, t.start = nil, after
	}
	t.items = append(t.items, found...)
	if n := len(t.items) - kept; n > 0 {
		t.items, t.start = t.items[n:], t.start+int64(n)
	}
}

// behind reports whether a reader is so far behind that it reads by itself, and
// the newest event's number if that had to be asked for.
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

// apart reads for one who is behind. Last is the newest event's number, if it is
// known.
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

// batch is what one reader may see of events without a gap.
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
