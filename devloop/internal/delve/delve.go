// Package delve runs dlv, the debugger. It reaches this program over a socket
// that only its user can open, and is gone when its connection is.
package delve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"devloop/internal/process"
	"devloop/internal/relay"
)

const maxTail = 4 << 10

// limits are times that tests shorten.
type limits struct {
	// patience is how long dlv may take to start; a process with much debug
	// information takes seconds to attach to.
	patience time.Duration
	// grace is how long dlv may take to end once its connection is closed.
	grace time.Duration
}

func usualLimits() limits { return limits{patience: 20 * time.Second, grace: 2 * time.Second} }

// A Launcher starts debuggers.
type Launcher struct {
	Starter *process.Starter
	Program string // dlv, looked up as a shell does
	Dir     string // private directory for sockets

	limits  *limits // nil for the usual ones
	started atomic.Int64
}

// A Debugger is a running dlv and the connection to it.
type Debugger struct {
	net.Conn
	process *process.Process
	output  *tail
	grace   time.Duration
}

// DAP starts a debugger that speaks the Debug Adapter Protocol and is not
// attached to anything yet.
func (l *Launcher) DAP(ctx context.Context) (relay.Debugger, error) {
	socket := l.socket()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for dlv: %w", err)
	}
	defer listener.Close()
	d, err := l.start("dap", "--client-addr=unix:"+socket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := l.bound(ctx)
	defer cancel()
	go func() {
		select {
		case <-d.process.Done():
		case <-ctx.Done():
		}
		listener.Close() // which ends the wait below
	}()
	d.Conn, err = listener.Accept()
	if err != nil {
		d.process.Kill()
		return nil, d.startError(ctx)
	}
	return d, nil
}

// Attach starts a debugger that speaks Delve's JSON-RPC and attaches to a
// process, which is paused until the client continues it.
func (l *Launcher) Attach(ctx context.Context, pid int) (relay.Debugger, error) {
	const again = 10 * time.Millisecond
	socket := l.socket()
	defer os.Remove(socket)
	d, err := l.start("attach", strconv.Itoa(pid), "--headless", "--api-version=2", "--listen=unix:"+socket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := l.bound(ctx)
	defer cancel()
	for {
		var dialer net.Dialer
		d.Conn, err = dialer.DialContext(ctx, "unix", socket)
		if err == nil {
			return d, nil
		}
		select {
		case <-time.After(again):
			continue
		case <-d.process.Done():
		case <-ctx.Done():
			d.process.Kill()
		}
		return nil, d.startError(ctx)
	}
}

func (l *Launcher) limit() limits {
	if l.limits == nil {
		return usualLimits()
	}
	return *l.limits
}

// bound limits how long dlv may take to start.
func (l *Launcher) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	d := l.limit().patience
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("it did not connect within %v", d))
}

func (l *Launcher) socket() string {
	return filepath.Join(l.Dir, fmt.Sprintf("dlv-%d", l.started.Add(1)))
}

func (l *Launcher) start(args ...string) (*Debugger, error) {
	path, err := exec.LookPath(l.Program)
	if err != nil {
		return nil, fmt.Errorf("%s, the debugger, was not found: install github.com/go-delve/delve/cmd/dlv where 'devloop up' runs", l.Program)
	}
	d := &Debugger{output: &tail{}, grace: l.limit().grace}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = d.output, d.output
	d.process, err = l.Starter.Start(cmd, syscall.SIGKILL)
	if errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("%w: dlv has a capability that this container lacks: start the container with SYS_PTRACE", err)
	}
	return d, err
}

// startError says why there is no connection; dlv has ended.
func (d *Debugger) startError(ctx context.Context) error {
	said := d.Said()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("start dlv: %w", context.Cause(ctx))
	case said != "":
		return fmt.Errorf("dlv ended: %s", said)
	default:
		return fmt.Errorf("dlv ended: %v", d.process.State())
	}
}

// Said returns the last line that dlv printed.
func (d *Debugger) Said() string { return d.output.lastLine() }

// End closes the connection, on which dlv lets the process go, and waits until
// dlv is gone. It is killed if that takes too long: what it had changed in the
// process stays changed then.
func (d *Debugger) End() {
	d.Conn.Close()
	deadline := time.NewTimer(d.grace)
	defer deadline.Stop()
	select {
	case <-d.process.Done():
	case <-deadline.C:
		d.process.Kill()
	}
}

// Kill ends a debugger whose process is dead, and which need not let go of it.
func (d *Debugger) Kill() {
	d.process.Kill()
	d.Conn.Close()
}

// A tail remembers the end of what was written.
type tail struct {
	mu    sync.Mutex
	bytes []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, p...)
	if over := len(t.bytes) - maxTail; over > 0 {
		t.bytes = t.bytes[over:]
	}
	return len(p), nil
}

func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.bytes))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
