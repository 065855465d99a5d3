package events

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// source is a database that other servers write to.
type source struct {
	last  atomic.Int64
	polls atomic.Int64
	down  atomic.Bool
}

func (s *source) lastEvent(context.Context) (int64, error) {
	s.polls.Add(1)
	if s.down.Load() {
		return 0, errors.New("down")
	}
	return s.last.Load(), nil
}

func run(t *testing.T, log *slog.Logger) (*Feed, *source) {
	t.Helper()
	f, s := NewFeed(log), &source{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx, s.lastEvent); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return f, s
}

func woken(s *Subscription) bool {
	select {
	case <-s.C:
		return true
	default:
		return false
	}
}

func TestWakeReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := run(t, slog.New(slog.DiscardHandler))
		a, b := f.Subscribe(), f.Subscribe()
		defer b.Close()
		for seq := range int64(5) {
			f.Wake(seq + 1) // a reader that is behind holds up no one
		}
		if !woken(a) || !woken(b) || woken(a) {
			t.Error("five events wake each subscriber not exactly once")
		}
		f.Wake(5)
		if woken(a) {
			t.Error("an event that was woken for wakes again")
		}
		a.Close()
		f.Wake(6)
		if woken(a) || !woken(b) {
			t.Error("a closed subscription is woken, or it holds up another")
		}
	})
}

// A reader that has read ahead is not woken for what it has read.
func TestSeen(t *testing.T) {
	for _, c := range []struct {
		woken, seen, again int64 // what is woken for, then seen, then woken for
		want               bool
	}{
		{woken: 3, seen: 2, want: true},
		{woken: 3, seen: 3, want: false},
		{woken: 3, seen: 5, want: false},
		{woken: 3, seen: 5, again: 5, want: false},
		{woken: 3, seen: 5, again: 6, want: true},
		{seen: 5, again: 4, want: false},
	} {
		f := NewFeed(slog.New(slog.DiscardHandler))
		s, other := f.Subscribe(), f.Subscribe()
		f.Wake(c.woken)
		s.Seen(c.seen)
		f.Wake(c.again)
		if got := woken(s); got != c.want {
			t.Errorf("Wake(%d), Seen(%d), Wake(%d): woken is %t, want %t", c.woken, c.seen, c.again, got, c.want)
		}
		if !woken(other) {
			t.Errorf("Wake(%d), another's Seen(%d), Wake(%d): not woken", c.woken, c.seen, c.again)
		}
		s.Close()
		other.Close()
	}
}

func TestPollSeesOtherServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, source := run(t, slog.New(slog.DiscardHandler))
		time.Sleep(time.Minute)
		if got := source.polls.Load(); got != 0 {
			t.Errorf("%d polls without a subscriber, want 0", got)
		}

		subs := []*Subscription{f.Subscribe(), f.Subscribe(), f.Subscribe()}
		synctest.Wait()
		source.last.Store(7)
		time.Sleep(pollEvery)
		synctest.Wait()
		for i, s := range subs {
			if !woken(s) {
				t.Errorf("subscriber %d is not woken for another server's event", i)
			}
		}
		before := source.polls.Load()
		time.Sleep(10 * pollEvery)
		synctest.Wait()
		if got := source.polls.Load() - before; got != 10 {
			t.Errorf("%d polls in 10 periods with 3 subscribers, want 10", got)
		}
		if woken(subs[0]) {
			t.Error("a subscriber is woken although nothing happened")
		}

		for _, s := range subs {
			s.Close()
		}
		time.Sleep(pollEvery)
		before = source.polls.Load()
		time.Sleep(time.Minute)
		if got := source.polls.Load() - before; got != 0 {
			t.Errorf("%d polls after the last subscriber left, want 0", got)
		}

		again := f.Subscribe()
		defer again.Close()
		source.last.Store(8)
		time.Sleep(pollEvery)
		synctest.Wait()
		if !woken(again) {
			t.Error("a subscriber that comes after a pause is not woken")
		}
	})
}

func TestHintIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, source := run(t, slog.New(slog.DiscardHandler))
		f.Hint() // before there is a subscriber
		s := f.Subscribe()
		defer s.Close()
		synctest.Wait()
		for seq := range int64(3) {
			source.last.Store(seq + 1)
			time.Sleep(hintPause) // after the previous poll
			f.Hint()
			f.Hint()
			synctest.Wait()
			if !woken(s) || woken(s) {
				t.Errorf("event %d with a hint does not wake once, at once", seq+1)
			}
		}
		before := source.polls.Load()
		for range 100 {
			f.Hint()
		}
		time.Sleep(hintPause)
		synctest.Wait()
		if woken(s) {
			t.Error("a hint without an event wakes")
		}
		if n := source.polls.Load() - before; n > 2 {
			t.Errorf("100 hints at once make %d polls, want them to be taken together", n)
		}
	})
}

func TestPollOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f, source := run(t, slog.New(slog.NewTextHandler(&log, nil)))
		source.down.Store(true)
		s := f.Subscribe()
		defer s.Close()
		time.Sleep(20 * pollEvery)
		source.down.Store(false)
		source.last.Store(1)
		time.Sleep(pollEvery)
		synctest.Wait()
		if !woken(s) {
			t.Error("a subscriber is not woken after an outage")
		}
		if got := strings.Count(log.String(), "\n"); got != 2 {
			t.Errorf("an outage logs %d lines, want its start and its end:\n%s", got, log.String())
		}
	})
}
