package ratelimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// clock is a clock that stands still until a test moves it.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestTake(t *testing.T) {
	const ms = time.Millisecond
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := New(10, 3, 5, c.now)
	for i, step := range []struct {
		after time.Duration
		key   string
		want  time.Duration
	}{
		{0, "a", 0},
		{0, "a", 0},
		{0, "a", 0}, // at once
		{0, "a", 100 * ms},
		{0, "b", 0}, // each for itself
		{40 * ms, "a", 60 * ms},
		{60 * ms, "a", 0}, // what was refused has cost nothing
		{0, "a", 100 * ms},
		{-time.Hour, "a", 100 * ms}, // a clock that goes back
		{time.Hour, "a", 100 * ms},
		{time.Hour, "a", 0},
		{0, "a", 0},
		{0, "a", 0},
		{0, "a", 100 * ms}, // no more than the burst
	} {
		c.t = c.t.Add(step.after)
		wait := l.Wait(step.key)
		got := l.Take(step.key)
		if got.Round(ms) != step.want || wait != got {
			t.Errorf("step %d: Take(%q) = %v, after Wait = %v, want %v", i, step.key, got, wait, step.want)
		}
	}
}

// Rounding errors never add up to a wait of no time.
func TestTakeAfterWhatItSaid(t *testing.T) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := New(3, 1, 5, c.now)
	for range 1000 {
		wait := l.Take("a")
		for ; wait > 0; wait = l.Take("a") {
			c.t = c.t.Add(wait)
		}
	}
	if took, want := c.t.Sub(time.Unix(1_700_000_000, 0)), 333*time.Second; took < want || took > want+time.Second {
		t.Errorf("1000 things at 3 a second took %v, want %v", took, want)
	}
}

func TestNoLimit(t *testing.T) {
	l := New(0, 0, 1, time.Now)
	for range 100 {
		if l.Take("a") != 0 || l.Wait("a") != 0 || l.Known("a") {
			t.Fatal("a rate of 0 limits")
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := New(1, 1, 3, c.now)
	for _, key := range []string{"a", "b", "c"} {
		l.Take(key)
	}
	l.Take("a") // refused, and asked for
	for i := range 100 {
		l.Wait(fmt.Sprint("not taken ", i))
	}
	l.Take("d")
	for key, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if got := l.Known(key); got != want {
			t.Errorf("Known(%q) = %t, want %t", key, got, want)
		}
	}
	for i := range 1000 {
		l.Take(fmt.Sprint(i))
	}
	if len(l.buckets) != 3 || l.recent.Len() != 3 {
		t.Errorf("there are %d buckets in a list of %d, want 3", len(l.buckets), l.recent.Len())
	}
	l.Forget("999")
	l.Forget("999")
	if l.Known("999") || l.Take("999") != 0 {
		t.Error("what was forgotten is not new")
	}
}

// Concurrent callers together get as much as one.
func TestConcurrentTake(t *testing.T) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := New(1, 50, 2, c.now)
	var got [2]atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				if l.Take(fmt.Sprint(i%2)) == 0 {
					got[i%2].Add(1)
				}
				l.Known("0")
				l.Wait("1")
			}
		})
	}
	wg.Wait()
	for i := range got {
		if n := got[i].Load(); n != 50 {
			t.Errorf("key %d got %d, want 50", i, n)
		}
	}
}
