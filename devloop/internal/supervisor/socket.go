package supervisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"devloop/internal/notify"
	"devloop/internal/sockets"
)

const (
	// unsaid is how long a process must have waited on its sockets to count as
	// ready that does not send READY=1.
	unsaid = 200 * time.Millisecond
	// settle is how long a process may be on its way to where it will listen.
	settle = time.Second
	// countPace is the time between two looks at the connections that a process
	// still has.
	countPace = 100 * time.Millisecond
)

// A socketWay has each process accept on the sockets that it inherits.
type socketWay struct {
	files       []*os.File
	names       []string // for LISTEN_FDNAMES, or nil
	addresses   []string
	inodes      []sockets.Inode
	ports       []uint16
	stopTimeout time.Duration
}

func newSocketWay(s *Supervisor) *socketWay {
	w := &socketWay{files: s.Listeners, names: s.Names, addresses: s.held, stopTimeout: s.StopTimeout}
	for i, f := range s.Listeners {
		inode, _ := sockets.Of(f) // 0, on which nothing waits
		w.inodes = append(w.inodes, inode)
		w.ports = append(w.ports, portOf(s.held[i]))
	}
	return w
}

// addressOf returns where a socket listens.
func addressOf(f *os.File) string {
	l, err := net.FileListener(f)
	if err != nil {
		return f.Name()
	}
	defer l.Close()
	return l.Addr().String()
}

// portOf returns an address's port, or 0.
func portOf(address string) uint16 {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}

func (w *socketWay) mode() Mode                   { return Socket }
func (w *socketWay) pace() time.Duration          { return countPace }
func (w *socketWay) alone() bool                  { return false }
func (w *socketWay) lead(*child)                  {} // they come by themselves
func (w *socketWay) close() func(<-chan struct{}) { return func(<-chan struct{}) {} }

// equip passes on the sockets as systemd does. LISTEN_PID follows when the
// process exists.
func (w *socketWay) equip(p *child, cmd *exec.Cmd) {
	cmd.ExtraFiles = w.files
	cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(w.files)), notify.Variable+"="+p.notify.Path())
	if w.names != nil {
		cmd.Env = append(cmd.Env, "LISTEN_FDNAMES="+strings.Join(w.names, ":"))
	}
}

func (w *socketWay) look(_ context.Context, p *child, said bool) verdict {
	v, err := sockets.Look(p.PID())
	if err != nil {
		return verdict{ready: said, why: "it must send READY=1 to $" + notify.Variable}
	}
	missing := w.unawaited(v)
	v = v.Without(w.inodes...)
	switch {
	case missing == "" && said:
		return verdict{ready: true}
	case missing == "": // it does not say so, or not yet
		return verdict{ready: p.seen.lasts("waits") >= unsaid, unsaid: true}
	case said:
		return verdict{
			failed: p.seen.lasts("elsewhere") >= settle,
			why:    fmt.Sprintf("sent READY=1, but it does not accept on the socket for %s that it inherits: %s", missing, elsewhere(v)),
		}
	}
	return verdict{why: fmt.Sprintf("it must accept on the socket that it inherits and send READY=1 to $%s; %s", notify.Variable, elsewhere(v))}
}

// unawaited returns the address of a socket on which the process does not
// wait, or "".
func (w *socketWay) unawaited(v sockets.View) string {
	for i, inode := range w.inodes {
		if !v.Awaits(inode) {
			return w.addresses[i]
		}
	}
	return ""
}

func (w *socketWay) describe(unsaid bool) string {
	text := "the server accepts on the socket that it inherits"
	if unsaid {
		text += "; it sends no READY=1, so each start takes 0.2s longer"
	}
	return text
}

func (w *socketWay) passed(p *child) <-chan struct{} { return p.notify.Stopping() }

// leave asks the process to stop, which it does once it has answered: only it can
// tell an idle connection from a busy one. While it has any, it may take its time.
func (w *socketWay) leave(ctx context.Context, p *child) Load {
	_ = p.Terminate()
	tick := time.NewTicker(countPace)
	defer tick.Stop()
	last := time.Now()
	for {
		left, known := w.connections(p)
		if !known || left > 0 {
			last = time.Now()
		}
		if time.Since(last) >= w.stopTimeout {
			return Load{}
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return Load{}
		case <-ctx.Done():
			return Load{Connections: left}
		}
	}
}

func (w *socketWay) load(p *child) Load {
	n, _ := w.connections(p)
	return Load{Connections: n}
}

// connections counts those that came in at the inherited sockets.
func (w *socketWay) connections(p *child) (n int, known bool) {
	v, err := sockets.Look(p.PID())
	return v.ConnectedTo(w.ports...), err == nil
}
