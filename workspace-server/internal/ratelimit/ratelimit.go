// Package ratelimit limits how often each of many keys may do something. It counts in
// the memory of one process, so two servers allow twice as much.
package ratelimit

import (
	"container/list"
	"sync"
	"time"
)

// Limiter allows each key a number of actions a second, and a burst after a pause: it
// has a token bucket for each key. It remembers a limited number of keys and forgets
// the one that was not used for longest.
type Limiter struct {
	rate, burst float64
	most        int
	now         func() time.Time

	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  list.List // of *bucket, the latest first
}

// bucket is what a key had left at a time. It has filled up since.
type bucket struct {
	key  string
	left float64
	at   time.Time
}

// New returns a limiter that remembers most keys. A rate of 0 means no limit.
func New(rate, burst float64, most int, now func() time.Time) *Limiter {
	return &Limiter{rate: rate, burst: burst, most: most, now: now, buckets: map[string]*list.Element{}}
}

// Take counts an action of key and returns 0, or returns how long key must wait.
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

// Wait returns what Take would return, and counts nothing.
func (l *Limiter) Wait(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.buckets[key]; !ok {
		return 0
	}
	return l.wait(l.fill(key))
}

// Known reports whether the limiter remembers key.
func (l *Limiter) Known(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.buckets[key]
	return ok
}

// Forget forgets key.
func (l *Limiter) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.buckets[key]; ok {
		l.remove(e)
	}
}

// fill returns the bucket of key, filled up to now. A new one is full.
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

// wait returns how long it takes until b has one action left.
func (l *Limiter) wait(b *bucket) time.Duration {
	if b.left >= 1 {
		return 0
	}
	// A rounding error must not become no time at all.
	return max(1, time.Duration((1-b.left)/l.rate*float64(time.Second)))
}

func (l *Limiter) remove(e *list.Element) {
	l.recent.Remove(e)
	delete(l.buckets, e.Value.(*bucket).key)
}
