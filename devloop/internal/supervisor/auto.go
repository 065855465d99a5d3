package supervisor

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"devloop/internal/sockets"
)

// An autoWay gives a process everything, and chooses another way by what it does
// with that.
type autoWay struct {
	socket  *socketWay
	forward forwardWay
}

func (w *autoWay) mode() Mode                    { return Auto }
func (w *autoWay) pace() time.Duration           { return lookPace }
func (w *autoWay) alone() bool                   { return false }
func (w *autoWay) lead(*child)                   {}
func (w *autoWay) passed(*child) <-chan struct{} { return nil }
func (w *autoWay) load(*child) Load              { return Load{} }
func (w *autoWay) close() func(<-chan struct{})  { return func(<-chan struct{}) {} }
func (w *autoWay) describe(bool) string          { return "" }

func (w *autoWay) leave(context.Context, *child) Load { return Load{} }

func (w *autoWay) equip(p *child, cmd *exec.Cmd) {
	w.socket.equip(p, cmd)
	w.forward.equip(p, cmd)
}

func (w *autoWay) look(ctx context.Context, p *child, said bool) verdict {
	s := w.sight(p, said)
	switch choose(s) {
	case Socket:
		return verdict{ready: true, unsaid: !said, way: w.socket}
	case Forward:
		chosen := w.forward
		return take(ctx, p, &chosen)
	case Fixed:
		if len(s.others) > 1 || s.wanted > 1 {
			return verdict{failed: true, why: fmt.Sprintf("listens on %s: say with -backend where each -listen leads", join(colons(s.others)))}
		}
		backend := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.others[0])))
		return take(ctx, p, &fixedWay{w.forward, []string{backend}})
	}
	return verdict{why: w.undecided(p, s)}
}

// take chooses a way once the process can be reached in it.
func take(ctx context.Context, p *child, chosen way) verdict {
	v := chosen.look(ctx, p, false)
	v.way = chosen
	return v
}

// A sighting is what a look at the first process found.
type sighting struct {
	said   bool          // it has sent READY=1
	wanted int           // on how many sockets it should accept
	awaits int           // on how many of those that it inherits it does
	given  int           // at how many of the addresses that it was given it listens
	others []uint16      // the ports at which it listens otherwise
	since  time.Duration // for how long it has been so
}

// choose returns the mode that suits the process, or "" while that is not known.
func choose(s sighting) Mode {
	switch {
	case s.awaits == s.wanted && (s.said || s.since >= unsaid):
		return Socket
	case s.awaits == 0 && s.given == s.wanted:
		return Forward
	case s.awaits == 0 && s.given == 0 && len(s.others) > 0 && (s.said || s.since >= settle):
		return Fixed
	default:
		return ""
	}
}

func (w *autoWay) sight(p *child, said bool) sighting {
	s := sighting{said: said, wanted: len(p.addresses)}
	v, err := sockets.Look(p.PID())
	for i, address := range p.addresses {
		_, own := v.ListensOn(portOf(address))
		switch {
		case err != nil && listens(portOf(address)), own:
			s.given++
		case err != nil && said, v.Awaits(w.socket.inodes[i]):
			s.awaits++
		}
	}
	for _, l := range v.Without(w.socket.inodes...).Listening {
		port := l.Local.Port()
		if !slices.Contains(s.others, port) && !slices.ContainsFunc(p.addresses, func(a string) bool { return portOf(a) == port }) {
			s.others = append(s.others, port)
		}
	}
	s.since = p.seen.lasts(fmt.Sprint(s.awaits, s.given, s.others))
	return s
}

// undecided says what the first process would have to do.
func (w *autoWay) undecided(p *child, s sighting) string {
	switch {
	case s.awaits > 0 && s.awaits < s.wanted:
		return "it accepts on some of the sockets that it inherits only: start devloop with fewer -listen"
	case s.given > 0 && s.given < s.wanted:
		return "it listens on some of the addresses only that it was given, " + join(p.addresses) + ": start devloop with fewer -listen"
	}
	return fmt.Sprintf("it listens nowhere: it may accept on the socket that it inherits, or listen on %s, which is $PORT and {addr} in its arguments, or anywhere else", p.addresses[0])
}

func colons(ports []uint16) []string {
	out := make([]string, len(ports))
	for i, port := range ports {
		out[i] = fmt.Sprintf(":%d", port)
	}
	return out
}
