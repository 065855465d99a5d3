package relay

import (
	"slices"
	"sync/atomic"
	"time"
)

// SetPatience says how long the relay waits for each step of an editor that sends
// its configuration again; 0 for the usual times.
func (r *Relay) SetPatience(d time.Duration) { r.unasked, r.inBetween = d, d }

// MissThreads makes the relay find that dlv has missed a thread at these attaches,
// counted from 1. It must be called before a client connects.
func (r *Relay) MissThreads(attaches ...int32) {
	var n atomic.Int32
	r.untraced = func(pid int) bool { return slices.Contains(attaches, n.Add(1)) || untraced(pid) }
}

// Untraced reports whether a process has a thread that no debugger traces.
func Untraced(pid int) bool { return untraced(pid) }
