package supervisor

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"time"

	"devloop/internal/forward"
	"devloop/internal/sockets"
)

// A fixedWay accepts for a server that always listens at the same address. One
// process must have ended before the next one can listen; requests wait
// meanwhile.
type fixedWay struct {
	forwardWay
	backends []string // where the server listens
}

func (w *fixedWay) mode() Mode              { return Fixed }
func (w *fixedWay) alone() bool             { return true }
func (w *fixedWay) equip(*child, *exec.Cmd) {}

func (w *fixedWay) look(ctx context.Context, p *child, _ bool) verdict {
	v, err := sockets.Look(p.PID())
	for _, address := range w.backends {
		up := err == nil && hears(v, portOf(address)) || err != nil && listens(portOf(address))
		if !up {
			return verdict{why: fmt.Sprintf("it does not listen on %s; %s", address, elsewhere(v))}
		}
	}
	if why := w.unready(ctx, p, w.backends[0]); why != "" {
		return verdict{why: why}
	}
	return w.reach(p, w.backends)
}

// leave cuts upgraded connections once nothing else is left and they are quiet: they
// do not end by themselves, and everyone waits.
func (w *fixedWay) leave(ctx context.Context, p *child) Load {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		tick := time.NewTicker(streamPace)
		defer tick.Stop()
		for {
			l := w.load(p)
			loud := slices.ContainsFunc(p.backends, func(b *forward.Backend) bool { return b.Quiet() < streamQuiet })
			if l.Requests == 0 && l.Connections == 0 && !loud {
				for _, b := range p.backends {
					b.Close()
				}
				return
			}
			select {
			case <-tick.C:
			case <-waiting.Done():
				return
			}
		}
	}()
	return w.forwardWay.leave(ctx, p)
}

const (
	// streamPace is the time between two looks at whether only upgraded connections are
	// left.
	streamPace = 20 * time.Millisecond
	// streamQuiet is how long these have to be quiet: an answer may be on its way.
	streamQuiet = 500 * time.Millisecond
)

func (w *fixedWay) describe(bool) string {
	return "devloop passes requests on to the server on " + join(w.backends) + "; they wait while that is replaced"
}

func hears(v sockets.View, port uint16) bool {
	_, ok := v.ListensOn(port)
	return ok
}

// takenByLoop returns the address that the loop holds and that a process could not
// listen on, according to what it printed last, or "".
func takenByLoop(tail []string, held []string) string {
	for _, line := range tail {
		if !strings.Contains(line, "address already in use") {
			continue
		}
		for _, address := range held {
			if _, port, err := net.SplitHostPort(address); err == nil && strings.Contains(line, ":"+port+":") {
				return address
			}
		}
	}
	return ""
}
