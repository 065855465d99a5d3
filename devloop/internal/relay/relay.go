// Package relay keeps a debugger attached to a server across its reloads. An
// editor connects to the relay once; the relay attaches dlv to the process that
// serves, and to the next one after each reload. While no editor is connected
// there is no dlv.
package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"devloop/internal/dap"
	"devloop/internal/filenames"
)

// A Server is the program that is debugged, one process after another.
type Server interface {
	// Serving returns the process that serves, or 0.
	Serving() int
	// Changed returns a channel that is closed when Serving may have changed.
	Changed() <-chan struct{}
}

// A Reporter takes notice of what happens to the session.
type Reporter interface {
	DebuggerAttached(client string, pid int)
	DebuggerMoved(pid int, took time.Duration, halted bool)
	DebuggerDetached(client string)
	DebuggerFailed(client string, err error)
	// BreakpointLost tells that the line of a breakpoint is not in the new build.
	BreakpointLost(file string, line int)
}

// A Debugger is a running dlv and the connection to it.
type Debugger interface {
	net.Conn
	// Said returns the last line that it printed.
	Said() string
	// End closes the connection, on which dlv lets its process go, and waits
	// until dlv is gone.
	End()
	// Kill ends a dlv whose process is dead.
	Kill()
}

// A Launcher starts debuggers.
type Launcher interface {
	// DAP starts one that speaks the Debug Adapter Protocol and is not
	// attached to anything yet.
	DAP(ctx context.Context) (Debugger, error)
	// Attach starts one that speaks Delve's JSON-RPC and attaches to a
	// process, which is paused until the client continues it.
	Attach(ctx context.Context, pid int) (Debugger, error)
}

const (
	// releaseTimeout bounds how long a reload waits until the debugger has let
	// go of the process that it replaces.
	releaseTimeout = 12 * time.Second
	// leaveTimeout is how long a client waits for the previous one to leave.
	leaveTimeout = time.Second
)

// A Relay serves one debugging session at a time. Set the exported fields, then
// call Serve.
type Relay struct {
	Server   Server
	Launcher Launcher
	Reporter Reporter
	// Refresh makes the latest build serve, even if it differs in line numbers
	// alone. It is called before a debugger attaches.
	Refresh func(context.Context) error
	// Names returns the names that a process has for its sources; nil if they are
	// always those of the files.
	Names func(pid int) filenames.Names
	// Restart builds the server and runs it in a new process. It returns once
	// that process serves, or returns why it does not.
	Restart func(context.Context) error

	unasked, inBetween time.Duration      // 0 for the usual times
	untraced           func(pid int) bool // nil for the usual look

	mu      sync.Mutex
	holder  *holder
	leaving int           // the process that was last asked to be let go of
	changed chan struct{} // closed and replaced when one of these changes
}

// A holder is who has the session.
type holder struct {
	client string // for people
	since  time.Time
	pid    int // the process that its debugger is attached to, or 0; Relay.mu guards it
}

// Serve answers connections until ctx is done and all sessions have ended.
func (r *Relay) Serve(ctx context.Context, l net.Listener) {
	accept(ctx, l, func(conn net.Conn) { r.serve(ctx, conn) })
}

// errUntraced fails an attach that leaves a part of the process alone.
var errUntraced = errors.New("dlv missed a thread of the process")

// missesThread reports whether dlv, which has attached to a process, has missed one
// of its threads.
func (r *Relay) missesThread(pid int) bool {
	if r.untraced != nil {
		return r.untraced(pid)
	}
	return untraced(pid)
}

// accept calls serve for each connection, and returns when ctx is done and all
// calls have returned.
func accept(ctx context.Context, l net.Listener, serve func(net.Conn)) {
	const retry = 50 * time.Millisecond // for want of descriptors, most likely
	var connections sync.WaitGroup
	defer connections.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
			continue
		}
		connections.Go(func() {
			defer conn.Close()
			serve(conn)
		})
	}
}

// serve tells the protocols apart: a DAP message begins with the letter C, a
// JSON-RPC one with a brace, and in both the client speaks first.
func (r *Relay) serve(ctx context.Context, conn net.Conn) {
	keepAlive(conn)
	in := bufio.NewReader(conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	first, err := in.Peek(1)
	if !stop() || err != nil {
		return
	}
	if first[0] == '{' {
		r.serveRPC(ctx, conn, in)
		return
	}
	r.serveDAP(ctx, dap.NewConn(conn, in))
}

// keepAlive has the system find out within seconds that a peer is gone which
// could not say so, and with it the session that it held.
func keepAlive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3})
	}
}

// A HeldError tells who has the session that another client wants.
type HeldError struct {
	Client string
	Since  time.Time
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s has been debugging since %s: disconnect it first; if it has vanished, its session ends within 10 seconds",
		e.Client, e.Since.Format("15:04:05"))
}

// claim makes h the holder, or returns a *HeldError. It waits a moment for a
// holder that is about to leave.
func (r *Relay) claim(ctx context.Context, h *holder) error {
	deadline := time.NewTimer(leaveTimeout)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		other := r.holder
		if other == nil {
			h.since = time.Now()
			r.holder = h
			r.mu.Unlock()
			return nil
		}
		changed := r.change()
		r.mu.Unlock()
		select {
		case <-changed:
		case <-deadline.C:
			return &HeldError{other.client, other.since}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change returns a channel that is closed at the next change; r.mu is held.
func (r *Relay) change() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// Client names who has the session, or is empty.
func (r *Relay) Client() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder == nil {
		return ""
	}
	return r.holder.client
}

// Debugging reports whether a client has the session.
func (r *Relay) Debugging() bool { return r.Client() != "" }

// giveUp ends what claim began.
func (r *Relay) giveUp(h *holder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder == h {
		r.holder = nil
		r.announce()
	}
}

// hold notes which process the holder's debugger is attached to.
func (r *Relay) hold(h *holder, pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.pid = pid
	r.announce()
}

// announce wakes everyone who waits for a change; r.mu is held.
func (r *Relay) announce() {
	if r.changed != nil {
		close(r.changed)
	}
	r.changed = nil
}

// Release returns once no debugger is attached to a process that must end, or
// after releaseTimeout. The session lets go at once, even if nothing else serves
// yet: a program may have to end before the next one can start.
func (r *Relay) Release(pid int) {
	deadline := time.NewTimer(releaseTimeout)
	defer deadline.Stop()
	r.mu.Lock()
	r.leaving = pid
	r.announce()
	r.mu.Unlock()
	for {
		r.mu.Lock()
		if r.holder == nil || r.holder.pid != pid {
			r.mu.Unlock()
			return
		}
		changed := r.change()
		r.mu.Unlock()
		select {
		case <-changed:
		case <-deadline.C:
			return
		}
	}
}

// serving returns the process that serves and goes on to, or 0.
func (r *Relay) serving() int {
	pid := r.Server.Serving()
	r.mu.Lock()
	defer r.mu.Unlock()
	if pid == r.leaving {
		return 0
	}
	return pid
}

// changes returns a channel that is closed when serving may have changed for
// another reason than the server's.
func (r *Relay) changes() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change()
}
