// Package events wakes the readers of events and reads events for them. A Feed
// says that there may be new events, and carries none: the database alone knows
// what happened. A Tail holds the newest events, so that many readers cost one
// read.
package events

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// pollEvery is how late a reader sees an event of another server at most,
	// if no hint comes.
	pollEvery = 250 * time.Millisecond

	// hintPause is the shortest time between two polls, however many hints
	// come: a server hears its own hints, too.
	hintPause = 5 * time.Millisecond

	pollTimeout = 5 * time.Second
)

// Feed wakes its subscribers when there are new events.
type Feed struct {
	log    *slog.Logger
	active chan struct{} // holds an element when there may be subscribers
	hint   chan struct{} // holds an element when another process may have written events

	mu   sync.Mutex
	subs map[*Subscription]struct{}
	last int64 // the newest event that the feed woke subscribers for
}

// NewFeed returns a feed without subscribers.
func NewFeed(log *slog.Logger) *Feed {
	return &Feed{log: log, active: make(chan struct{}, 1), hint: make(chan struct{}, 1), subs: map[*Subscription]struct{}{}}
}

// Subscription is one reader's place in a feed.
type Subscription struct {
	// C holds an element when there may be events that the reader has not read.
	C    <-chan struct{}
	c    chan struct{}
	feed *Feed
	seen int64 // see Seen
}

// Subscribe returns a subscription, which the caller must close. A reader that
// subscribes before it reads misses no event.
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

// Seen says that the reader has read all events up to seq.
func (s *Subscription) Seen(seq int64) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.seen = seq
	if s.feed.last > seq {
		return
	}
	select {
	case <-s.c: // the reader has read what this stood for
	default:
	}
}

// Wake wakes each subscriber, unless it has seen seq, or was woken for seq or a
// later event before. It does not block.
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

// notify leaves one element in c, whatever number of notices it stands for.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run polls for events of other processes until ctx is done, and only while
// there are subscribers. lastEvent returns the newest event's number.
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

// poll polls until there are no subscribers left.
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
			f.log.Error("the events of other servers are late: the database does not answer", "error", err)
		case err == nil:
			if failing {
				f.log.Info("the database answers again: the events of other servers arrive")
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
