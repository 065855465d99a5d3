package agent

import (
	"strings"
	"sync"
	"time"
)

// activity is what an agent does and did, as its heartbeats tell.
type activity struct {
	started time.Time

	mu     sync.Mutex
	active int
	task   string // the one that began last
	last   time.Time
	calls  int // that were answered
	failed int // of those
}

// newActivity counts the start as activity: an agent that nobody has written to
// is idle since then.
func newActivity(now time.Time) *activity { return &activity{started: now, last: now} }

// begin notes a message that came in.
func (a *activity) begin(now time.Time, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active++
	a.last = now
	a.task, _, _ = strings.Cut(shorten(text, 80), "\n")
}

// end notes that a message was answered.
func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.active--; a.active == 0 {
		a.task = ""
	}
}

// answered notes whether a call was answered with an error.
func (a *activity) answered(failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if failed {
		a.failed++
	}
}

func (a *activity) heartbeat(now time.Time) heartbeat {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := heartbeat{
		ActiveTasks:   a.active,
		CurrentTask:   a.task,
		UptimeSeconds: int64(now.Sub(a.started).Seconds()),
		LastActive:    a.last.UnixMilli(),
	}
	if a.calls > 0 {
		h.ErrorRate = float64(a.failed) / float64(a.calls)
	}
	return h
}

// shorten returns the first characters of a text.
func shorten(text string, length int) string {
	for i := range text {
		if length--; length < 0 {
			return text[:i] + "…"
		}
	}
	return text
}
