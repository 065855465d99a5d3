package relay

import "time"

// AwaitEditor has the relay wait for as long as it takes until an editor has
// sent its configuration again.
func (r *Relay) AwaitEditor() { r.limits = &limits{time.Hour, time.Hour} }
