package supervisor

import (
	"math"
	"syscall"
)

// An end is how a process ended.
type end struct {
	signal   syscall.Signal // what killed it, or 0
	code     int            // its exit code otherwise
	stopping bool           // it had said that it stops
}

// endOf returns how a process ended, once it has.
func endOf(p *child) end {
	e := end{code: p.State().ExitCode()}
	if ws, ok := p.State().Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.signal = ws.Signal()
	}
	select {
	case <-p.notify.Stopping():
		e.stopping = true
	default:
	}
	return e
}

// forgiven returns how many such ends in a row, each soon after the start, say
// nothing against the build.
func forgiven(e end) int {
	const shell = 128 // a program that tells a signal by its exit code adds this
	switch {
	case e.signal == syscall.SIGTERM, e.signal == syscall.SIGINT, e.signal == syscall.SIGHUP, e.stopping:
		return math.MaxInt // someone asked it to
	case e.signal == syscall.SIGKILL:
		return 1 // from outside, unless it recurs
	case e.signal == 0 && (e.code == 0 || e.code == shell+int(syscall.SIGTERM) || e.code == shell+int(syscall.SIGINT)):
		return 3 // most likely someone asked it to, unless it always ends like that
	default:
		return 0
	}
}
