// Package feed wakes those who wait for events. It carries no events: whoever
// is woken reads them from the database, which alone knows what happened.
package feed

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// pollEvery is how late an event of another server process may be seen,
	// if there is no hint.
	pollEvery = 250 * time.Millisecond

	// hintPause is the least time from one look at the database to the next,
	// however many hints there are: a server hears its own ones, too.
	hintPause = 5 * time.Millisecond

	pollTimeout = 5 * time.Second
)

// Feed tells its subscribers that there are new events.
type Feed struct {
	log    *slog.Logger
	active chan struct{} // has an element when there may be subscribers
	hint   chan struct{} // has an element when another process may have written events

	mu   sync.Mutex
	subs map[*Subscription]struct{}
	last int64 // the newest event that subscribers were woken for
}

// New returns a feed that no one has subscribed to.
func New(log *slog.Logger) *Feed {
	return &Feed{log: log, active: make(chan struct{}, 1), hint: make(chan struct{}, 1), subs: map[*Subscription]struct{}{}}
}

// Subscription is one who waits.
type Subscription struct {
	// C has an element when there may be events that were not read yet.
	C    <-chan struct{}
	c    chan struct{}
	feed *Feed
	seen int64 // see Seen
}

// Subscribe returns a subscription, which has to be closed. Whoever subscribes
// first and reads events afterwards misses none.
func (f *Feed) Subscribe() *Subscription {
	c := make(chan struct{}, 1)
	s := &Subscription{C: c, c: c, feed: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[s] = struct{}{}
	notify(f.active)
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	delete(s.feed.subs, s)
}

// Seen says that the subscriber has read all events up to seq.
func (s *Subscription) Seen(seq int64) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.seen = seq
	if s.feed.last > seq {
		return
	}
	select {
	case <-s.c: // there is nothing to be read for it
	default:
	}
}

// Wake wakes all subscribers, unless they have seen seq, or were woken for seq
// or a later event before. It does not block.
func (f *Feed) Wake(seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq <= f.last {
		return
	}
	f.last = seq
	for s := range f.subs {
		if s.seen < seq {
			notify(s.c)
		}
	}
}

// Hint says that another process may have written events. It does not block.
func (f *Feed) Hint() { notify(f.hint) }

// notify leaves one element in c, which stands for any number of notices.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run polls for events that other processes wrote, as long as there are
// subscribers, until ctx is done. lastEvent returns the newest event's number.
func (f *Feed) Run(ctx context.Context, lastEvent func(context.Context) (int64, error)) {
	for {
		select {
		case <-f.active:
		case <-ctx.Done():
			return
		}
		f.poll(ctx, lastEvent)
	}
}

// poll returns when there are no subscribers left.
func (f *Feed) poll(ctx context.Context, lastEvent func(context.Context) (int64, error)) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	failing := false
	for f.subscribed() {
		pollCtx, cancel := context.WithTimeout(ctx, pollTimeout)
		seq, err := lastEvent(pollCtx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			f.log.Error("events of other servers are not seen until the database answers", "error", err)
		case err == nil:
			if failing {
				f.log.Info("events of other servers are seen again")
			}
			f.Wake(seq)
		}
		failing = err != nil
		pause := time.NewTimer(hintPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		select {
		case <-ticker.C:
		case <-f.hint:
		case <-ctx.Done():
			return
		}
	}
}

func (f *Feed) subscribed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs) > 0
}
