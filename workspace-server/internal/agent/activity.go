package agent

import (
	"strings"
	"sync"
	"time"
)

// activity counts what an agent does, for its heartbeats.
type activity struct {
	started time.Time

	mu     sync.Mutex
	active int
	task   string // the one that began last
	last   time.Time
	calls  int // answered calls
	failed int // answered with an error
}

// newActivity counts the start as activity: an agent that got no message has been idle
// since then.
func newActivity(now time.Time) *activity { return &activity{started: now, last: now} }

// begin records the arrival of a message.
func (a *activity) begin(now time.Time, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active++
	a.last = now
	a.task, _, _ = strings.Cut(shorten(text, 80), "\n")
}

// end records the answer to a message.
func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.active--; a.active == 0 {
		a.task = ""
	}
}

// answered counts a call, and whether its answer was an error.
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

// shorten returns at most the first length characters of a text.
func shorten(text string, length int) string {
	for i := range text {
		if length--; length < 0 {
			return text[:i] + "…"
		}
	}
	return text
}
