// Package ratelimit limits how often something may be done, for each of many
// who do it, in the memory of one process: two servers allow twice as much.
package ratelimit

import (
	"container/list"
	"sync"
	"time"
)

// Limiter allows each key a number of things a second, and some at once after a
// pause: a token bucket for each. It remembers a limited number of keys; of
// more, those forgotten that were asked for longest ago.
type Limiter struct {
	rate, burst float64
	most        int
	now         func() time.Time

	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  list.List // of *bucket, the latest first
}

// bucket had left at a time; it has more by now.
type bucket struct {
	key  string
	left float64
	at   time.Time
}

// New returns a limiter for most keys. A rate of 0 is no limit.
func New(rate, burst float64, most int, now func() time.Time) *Limiter {
	return &Limiter{rate: rate, burst: burst, most: most, now: now, buckets: map[string]*list.Element{}}
}

// Take does a thing for key and returns 0, or does not and returns how long it
// takes until it may be done.
func (l *Limiter) Take(key string) time.Duration {
	if l.rate == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.fill(key)
	if wait := l.wait(b); wait > 0 {
		return wait
	}
	b.left--
	return 0
}

// Wait returns what Take would, and does nothing.
func (l *Limiter) Wait(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.buckets[key]; !ok {
		return 0
	}
	return l.wait(l.fill(key))
}

// Known reports whether Take was called for key, and it was not forgotten since.
func (l *Limiter) Known(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.buckets[key]
	return ok
}

// Forget makes key one that was never asked for.
func (l *Limiter) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.buckets[key]; ok {
		l.remove(e)
	}
}

// fill returns the bucket of key as it is now, which is full if it is new.
func (l *Limiter) fill(key string) *bucket {
	now := l.now()
	if e, ok := l.buckets[key]; ok {
		l.recent.MoveToFront(e)
		b := e.Value.(*bucket)
		if passed := now.Sub(b.at); passed > 0 {
			b.left = min(l.burst, b.left+l.rate*passed.Seconds())
			b.at = now
		}
		return b
	}
	for len(l.buckets) >= l.most {
		l.remove(l.recent.Back())
	}
	b := &bucket{key: key, left: l.burst, at: now}
	l.buckets[key] = l.recent.PushFront(b)
	return b
}

// wait returns how long it takes until there is one in b.
func (l *Limiter) wait(b *bucket) time.Duration {
	if b.left >= 1 {
		return 0
	}
	// What is missing by a rounding error only would else be no time at all.
	return max(1, time.Duration((1-b.left)/l.rate*float64(time.Second)))
}

func (l *Limiter) remove(e *list.Element) {
	l.recent.Remove(e)
	delete(l.buckets, e.Value.(*bucket).key)
}
