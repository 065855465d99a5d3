package supervisor

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"

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
	if why := answers(ctx, w.backends[0], w.readyPath); why != "" {
		return verdict{why: why}
	}
	return w.reach(p, w.backends)
}

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
