package relay

import "time"

// SetPatience says how long the relay waits for each step of an editor that sends
// its configuration again; 0 for the usual times.
func (r *Relay) SetPatience(d time.Duration) { r.unasked, r.inBetween = d, d }
