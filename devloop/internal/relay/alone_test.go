package relay_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"devloop/internal/process"
	"devloop/internal/testkit"
)

// alone runs the server as one whose port is its own: a process ends before the
// next one starts. Its socket stays open, so that requests wait meanwhile.
type alone struct {
	h       *harness
	starter *process.Starter

	mu      sync.Mutex
	now     *process.Process
	pid     int // what Serving returns
	changed chan struct{}
}

// startAlone is start, with processes that do not overlap.
func startAlone(t *testing.T) (*harness, *alone) {
	t.Helper()
	h := start(t)
	a := &alone{h: h, starter: process.NewStarter(), changed: make(chan struct{})}
	h.relay.Server = a // no client is connected yet
	t.Cleanup(func() {
		h.stop()
		a.end()
		a.starter.Close()
	})
	h.supervisor.Close(t.Context()) // its sockets stay open
	a.begin()
	return h, a
}

// Serving implements relay.Server.
func (a *alone) Serving() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pid
}

// Changed implements relay.Server.
func (a *alone) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func (a *alone) serves(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pid = pid
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *alone) begin() {
	a.h.t.Helper()
	c := a.h.command()
	cmd := exec.Command(c.Path)
	cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), "LISTEN_FDS=1")
	cmd.ExtraFiles = a.h.supervisor.Listeners
	var err error
	if a.now, err = a.starter.Start(cmd, syscall.SIGKILL); err != nil {
		a.h.t.Fatal(err)
	}
	a.serves(a.now.PID())
}

// end ends the process as the supervisor does in the mode "fixed": it serves
// until the debugger has let go of it.
func (a *alone) end() {
	a.h.t.Helper()
	pid := a.now.PID()
	a.h.relay.Release(pid)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		a.h.t.Errorf("SIGTERM to %d: %v", pid, err)
	}
	testkit.Within(a.h.t, "the end of the old process", a.now.Done())
	a.serves(0)
}

// reload builds another program, and has it take the place of the old one.
func (a *alone) reload(shift int) {
	a.h.t.Helper()
	a.h.builds++
	a.h.build(shift)
	a.end()
	a.begin()
}

// TestAlone keeps an editor over processes of which each ends before the next one
// starts, while it runs, and while it looks at what is stopped.
func TestAlone(t *testing.T) {
	h, a := startAlone(t)
	_, line := h.source(0)
	e := h.connect(true)
	e.attach(line)
	h.hit(e, line)
	for shift := 1; shift <= 2; shift++ {
		_, line = h.source(shift)
		e.move(line)
		a.reload(shift)
		h.moved(shift)
		h.hit(e, line)
	}
	greeting := h.get("/debugged")
	e.stoppedAt(line)
	_, line = h.source(3)
	e.move(line)
	a.reload(3)
	h.served(greeting) // by the old process, before its end
	e.event("continued")
	h.moved(3)
	h.hit(e, line)
	e.call("disconnect", nil)
	h.undisturbed()
	if e.count("terminated") != 1 || e.count("exited") != 0 {
		t.Errorf("the editor was told that the session ended %d times, and the process %d times; want 1, 0", e.count("terminated"), e.count("exited"))
	}
}

// TestAloneBetween has the editor ask while no process serves: its requests wait.
func TestAloneBetween(t *testing.T) {
	h, a := startAlone(t)
	_, line := h.source(0)
	e := h.connect(true)
	e.attach(line)
	h.hit(e, line)
	a.end()
	h.builds++
	h.build(1)
	_, line = h.source(1)
	set := e.breakAt(line)
	e.move(line)
	a.begin()
	h.moved(1)
	if m := e.response(set); !m.Success {
		t.Error("a breakpoint that is set while nothing serves is refused, want it set in the next process")
	}
	h.hit(e, line)
	e.call("disconnect", nil)
	h.undisturbed()
}

// TestRPCAlone does the same with Delve's own protocol, in which the next process
// is paused if the old one was.
func TestRPCAlone(t *testing.T) {
	h, a := startAlone(t)
	_, line := h.source(0)
	c := h.delve()
	c.attach()
	c.breakAt(h.path(), line)
	waiting := c.hit(c.command("continue"), line)
	a.reload(0)
	h.moved(1)
	waiting = c.hit(waiting, line)
	greeting := h.get("/debugged")
	c.stoppedAt(waiting, h.path(), line)
	a.reload(0)
	h.served(greeting)
	h.moved(2)
	c.paused()
	c.hit(c.command("continue"), line)
	c.conn.Close()
	h.undisturbed()
	if text := h.reports.text(); strings.Contains(text, "debugger failed") {
		t.Error("the session failed")
	}
}
