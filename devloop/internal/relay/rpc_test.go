package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// TestRPCReloads keeps a client that waits for a stop over builds that move the
// lines: it waits on, and the breakpoint follows its line.
func TestRPCReloads(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	c := h.delve()
	c.attach()
	c.breakAt(h.path(), line)
	waiting := c.command("continue")
	greeting := h.get("/debugged")
	c.stoppedAt(waiting, h.path(), line)
	c.greeting()
	waiting = c.command("continue")
	h.served(greeting)
	for i, shift := range []int{1, 0, 3, 0, 1} {
		h.reload(shift)
		h.moved(i + 1)
		_, line = h.source(shift)
		waiting = c.hit(waiting, line)
	}
	c.call("Command", arguments{"name": "halt"}, &stateOut{})
	if s := c.stopped(waiting); s.Running || s.Exited {
		t.Errorf("halted: %+v, want a paused process", s)
	}
	c.call("Detach", arguments{"Kill": false}, &struct{}{})
	h.undisturbed()
	if text := h.reports.text(); strings.Contains(text, "crashed") || strings.Contains(text, "halted true") {
		t.Error("the server crashed, or stood still after a reload")
	}
}

// TestRPCReloadHalted has reloads come while the client looks at what is
// stopped: the request there is served, the new process is paused, and the
// client sets its breakpoints again.
func TestRPCReloadHalted(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	c := h.delve()
	c.attach()
	id := c.breakAt(h.path(), line).ID
	for shift := 1; shift <= 4; shift++ {
		greeting := h.get("/debugged")
		c.stoppedAt(c.command("continue"), h.path(), line)
		h.reload(shift)
		h.served(greeting)
		h.moved(shift)
		c.paused()
		c.call("ClearBreakpoint", arguments{"Id": id}, &breakpointOut{})
		_, line = h.source(shift)
		id = c.breakAt(h.path(), line).ID
	}
	greeting := h.get("/debugged")
	c.stoppedAt(c.command("continue"), h.path(), line)
	c.greeting()
	c.command("continue")
	h.served(greeting)
	if n := strings.Count(h.reports.text(), "halted true"); n != 4 {
		t.Errorf("the terminal says %d times that the process is paused, want 4", n)
	}
	c.conn.Close()
	h.undisturbed()
}

// TestRPCBreakpoints: a client finds its breakpoints under the same numbers
// after a reload, those too that are disabled or have no code at their line.
func TestRPCBreakpoints(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	main := filepath.Join(h.dir, "main.go")
	sleep := lineOf(t, main, "time.Sleep(d)")
	c := h.delve()
	c.attach()
	first := c.breakAt(main, sleep)
	second := c.breakAt(h.path(), line)
	third := c.breakAt(main, lineOf(t, main, "func tell("))
	fourth := c.breakAt(main, lineOf(t, main, "func startChild("))
	c.call("ToggleBreakpoint", arguments{"Id": first.ID}, &breakpointOut{})
	c.call("ClearBreakpoint", arguments{"Id": third.ID}, &breakpointOut{})
	for i, shift := range []int{3, 0} {
		h.reload(shift)
		h.moved(i + 1)
		// Changing one breakpoint is no reason to forget another.
		c.call("ToggleBreakpoint", arguments{"Id": fourth.ID}, &breakpointOut{})
	}
	got := c.breakpoints()
	want := map[int]delveBreakpoint{
		first.ID:  {first.ID, "", main, sleep, true},
		second.ID: {second.ID, "", h.path(), line, false},
		fourth.ID: {fourth.ID, "", main, fourth.Line, false},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after two reloads the breakpoints are %+v, want %+v", got, want)
	}
	fifth := c.breakAt(main, lineOf(t, main, "func serve("))
	if _, ok := want[fifth.ID]; ok {
		t.Errorf("a new breakpoint has number %d, which another has", fifth.ID)
	}
}

// TestRPCStep has a reload come while a step runs, and while one has not ended
// because another goroutine stopped. What the step left in the process would
// kill it.
func TestRPCStep(t *testing.T) {
	t.Run("runs", func(t *testing.T) {
		h := start(t)
		_, line := h.source(0)
		main := filepath.Join(h.dir, "main.go")
		c := h.delve()
		c.attach()
		reads := c.breakAt(main, lineOf(t, main, "io.ReadAll(r.Body)"))
		c.breakAt(h.path(), line)
		body, w := io.Pipe() // the step lasts until the body ends
		echo := h.post(body)
		c.stoppedAt(c.command("continue"), main, reads.Line)
		c.call("ClearBreakpoint", arguments{"Id": reads.ID}, &breakpointOut{})
		waiting := c.command("next")
		h.reload(0)
		h.moved(1)
		c.hit(waiting, line)
		fmt.Fprint(w, "the body")
		w.Close()
		if a := testkit.Within(t, "the echo", echo); a.err != nil || a.body != "the body" {
			t.Errorf("the request in the midst of which the step was is answered by %q, %v, want its body", a.body, a.err)
		}
		c.conn.Close()
		h.undisturbed()
		noCrash(h)
	})
	halted := func(then func(h *harness, c *delveClient)) func(*testing.T) {
		return func(t *testing.T) {
			h := start(t)
			_, line := h.source(0)
			c := h.delve()
			c.attach()
			c.breakAt(h.path(), line)
			held := []<-chan answer{h.get("/debugged"), h.get("/debugged"), h.get("/debugged")}
			c.stoppedAt(c.command("continue"), h.path(), line)
			c.stopped(c.command("next"))
			then(h, c)
			for _, greeting := range held {
				h.served(greeting)
			}
			c.conn.Close()
			h.undisturbed()
			noCrash(h)
		}
	}
	t.Run("halted before its end", halted(func(h *harness, c *delveClient) {
		h.reload(0)
		h.moved(1)
		c.paused()
	}))
	t.Run("halted before its end, and detached", halted(func(_ *harness, c *delveClient) {
		c.call("Detach", arguments{"Kill": false}, &struct{}{})
	}))
	t.Run("halted before its end, and cut", halted(func(_ *harness, c *delveClient) { c.conn.Close() }))
}

func noCrash(h *harness) {
	h.t.Helper()
	if strings.Contains(h.reports.text(), "crashed") {
		h.t.Error("the server crashed")
	}
}

// TestRPCLeave ends a session in each possible way: the server keeps serving.
func TestRPCLeave(t *testing.T) {
	ways := []struct {
		name  string
		leave func(c *delveClient)
	}{
		{"detach", func(c *delveClient) { c.call("Detach", arguments{"Kill": false}, &struct{}{}) }},
		{"detach and kill", func(c *delveClient) { c.call("Detach", arguments{"Kill": true}, &struct{}{}) }},
		{"cut", func(c *delveClient) { c.conn.Close() }},
		{"reset", func(c *delveClient) { _ = c.conn.(*net.TCPConn).SetLinger(0); c.conn.Close() }},
		{"junk", func(c *delveClient) { _, _ = c.conn.Write([]byte("{]")) }},
	}
	for _, stopped := range []bool{true, false} {
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s while stopped %v", way.name, stopped), func(t *testing.T) {
				h := start(t)
				_, line := h.source(0)
				c := h.delve()
				c.attach()
				c.breakAt(h.path(), line)
				waiting := c.command("continue")
				pid := h.supervisor.Serving()
				if stopped {
					greeting := h.get("/debugged")
					c.stoppedAt(waiting, h.path(), line)
					way.leave(c)
					h.served(greeting)
				} else {
					c.hit(waiting, line)
					way.leave(c)
				}
				h.undisturbed()
				if after := h.supervisor.Serving(); after != pid {
					t.Errorf("pid %d serves, want %d as before", after, pid)
				}
				testkit.Eventually(t, "the report", func() bool { return strings.Contains(h.reports.text(), "detached") })
			})
		}
	}
}

// TestRPCServerDies keeps the session over the end of the process.
func TestRPCServerDies(t *testing.T) {
	tests := []struct {
		name string
		// die returns the command that waits then.
		die func(h *harness, c *delveClient, waiting *rpc.Call, line int) *rpc.Call
	}{
		{"panic", func(h *harness, c *delveClient, waiting *rpc.Call, _ int) *rpc.Call {
			h.get("/panic")
			s := c.stopped(waiting)
			if s.CurrentThread == nil || s.CurrentThread.Breakpoint == nil || s.CurrentThread.Breakpoint.Name != "unrecovered-panic" {
				h.t.Errorf("stopped: %+v, want the panic", s)
			}
			return c.command("continue")
		}},
		{"killed while it runs", func(h *harness, _ *delveClient, waiting *rpc.Call, _ int) *rpc.Call {
			kill(h, h.supervisor.Serving())
			return waiting
		}},
		{"killed while it is stopped", func(h *harness, c *delveClient, waiting *rpc.Call, line int) *rpc.Call {
			h.get("/debugged")
			c.stoppedAt(waiting, h.path(), line)
			kill(h, h.supervisor.Serving())
			h.moved(1)
			c.paused()
			return c.command("continue")
		}},
		{"killed while it is stopped, and continued at once", func(h *harness, c *delveClient, waiting *rpc.Call, line int) *rpc.Call {
			h.get("/debugged")
			c.stoppedAt(waiting, h.path(), line)
			kill(h, h.supervisor.Serving())
			return c.command("continue")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t)
			_, line := h.source(0)
			c := h.delve()
			c.attach()
			c.breakAt(h.path(), line)
			before := h.supervisor.Serving()
			waiting := c.hit(c.command("continue"), line)
			waiting = tt.die(h, c, waiting, line)
			h.moved(1)
			if after := h.supervisor.Serving(); after == before {
				t.Errorf("pid %d keeps serving, want another", after)
			}
			c.hit(waiting, line)
		})
	}
}

// TestRPCPanicThenDetach: the process ends as it would have without a debugger,
// and the loop starts it again.
func TestRPCPanicThenDetach(t *testing.T) {
	h := start(t)
	c := h.delve()
	c.attach()
	waiting := c.command("continue")
	h.get("/panic")
	c.stopped(waiting)
	c.call("Detach", arguments{"Kill": true}, &struct{}{})
	testkit.Eventually(t, "a restart", func() bool { return strings.Contains(h.reports.text(), "restarted") })
	if text := h.reports.text(); !strings.Contains(text, ": exit status 2") {
		t.Errorf("the terminal shows\n%s\nwant the server's exit status 2", text)
	}
	h.undisturbed()
}

// TestRPCRestart builds and swaps at the client's wish, although nothing changed.
func TestRPCRestart(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	c := h.delve()
	c.attach()
	c.breakAt(h.path(), line)
	before := h.supervisor.Serving()
	c.call("Restart", arguments{"Rebuild": true}, &struct{}{})
	if after := h.supervisor.Serving(); after == before || after == 0 {
		t.Errorf("after Restart pid %d serves, before it was %d, want another", after, before)
	}
	h.moved(1)
	c.paused()
	c.hit(c.command("continue"), line)
}

// TestRPCSecondClient refuses the second client, in either protocol.
func TestRPCSecondClient(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	first := h.delve()
	first.attach()
	first.breakAt(h.path(), line)
	waiting := first.command("continue")
	refused := func(name string, err error, holder string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), holder) || !strings.Contains(err.Error(), "has been debugging since") {
			t.Errorf("%s = %v, want a failure that names %q", name, err, holder)
		}
	}
	const rpcHolder, dapHolder = "Delve's JSON-RPC client 127.0.0.1:", "a test (127.0.0.1:"
	second := h.delve()
	refused("SetApiVersion of a second client", second.answer(second.begin("SetApiVersion", arguments{"APIVersion": 2}, &struct{}{})), rpcHolder)
	initialize := func(e *editor) error {
		var message string
		m := e.response(e.send("initialize", map[string]string{"clientName": "a test", "pathFormat": "path"}))
		if err := m.Field("message", &message); err != nil || m.Success {
			return err
		}
		return fmt.Errorf("%s", message)
	}
	refused("initialize of an editor", initialize(h.connect(true)), rpcHolder)
	first.hit(waiting, line)
	first.conn.Close()
	h.undisturbed()

	testkit.Eventually(t, "the end of the first session", func() bool { return strings.Contains(h.reports.text(), "detached") })
	e := h.connect(true)
	e.attach(line)
	third := h.delve()
	refused("SetApiVersion after an editor", third.answer(third.begin("SetApiVersion", arguments{"APIVersion": 2}, &struct{}{})), dapHolder)
	h.hit(e, line)
}

// TestRPCJunk answers in plain words what is not JSON-RPC. The server is not
// even stopped for it.
func TestRPCJunk(t *testing.T) {
	h := start(t)
	for _, junk := range []string{"{]", "{\x00\x01\x02", `{"id": 1, "method": 5}`, `{"id": 1}` + "\n", `{"id": 1, "params": {}}`, `{"method": "RPCServer.State", "params": 3}`} {
		conn, err := net.Dial("tcp", h.debug)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(junk)); err != nil {
			t.Fatal(err)
		}
		var answer struct {
			ID     any
			Result any
			Error  string
		}
		in := json.NewDecoder(conn)
		if err := in.Decode(&answer); err != nil || !strings.Contains(answer.Error, "not JSON-RPC") {
			t.Errorf("%q is answered by %+v, %v, want an explanation", junk, answer, err)
		}
		if rest := new(bytes.Buffer); in.More() {
			_, _ = rest.ReadFrom(conn)
			t.Errorf("%q is answered by more than one message: %s", junk, rest)
		}
		conn.Close()
	}
	h.undisturbed()
	if text := h.reports.text(); strings.Contains(text, "attached") || strings.Count(text, "not JSON-RPC") != 6 {
		t.Errorf("the terminal shows\n%s\nwant nothing attached, and the reason 6 times", text)
	}
	// A request that dlv does not know is dlv's to refuse.
	c := h.delve()
	if err := c.answer(c.begin("NoSuchMethod", arguments{}, &struct{}{})); err == nil {
		t.Error("NoSuchMethod succeeded")
	}
	c.attach()
	c.command("continue")
	h.served(h.get("/debugged"))
}

// withLine gives the debugged function one more line, and returns its number.
func (h *harness) withLine() (line int) {
	h.t.Helper()
	const more, after = "\tname += \"!\"\n", "\tgreeting := "
	h.original = strings.Replace(h.original, after, more+after, 1)
	h.reload(0)
	before, _, _ := strings.Cut(h.original, more)
	return 1 + strings.Count(before, "\n")
}

// withoutLine takes it away again.
func (h *harness) withoutLine() {
	h.original = strings.Replace(h.original, "\tname += \"!\"\n", "", 1)
}

// TestRPCLost has an edit remove the line of a breakpoint: the terminal says so, and
// the client finds it disabled. The other one follows its line.
func TestRPCLost(t *testing.T) {
	h := start(t)
	removed := h.withLine()
	_, line := h.source(0)
	c := h.delve()
	c.attach()
	kept, lost := c.breakAt(h.path(), line), c.breakAt(h.path(), removed)
	h.withoutLine()
	h.reload(2)
	h.moved(1)
	_, line = h.source(2)
	got := c.breakpoints()
	if b := got[kept.ID]; b.Disabled || b.Line != line {
		t.Errorf("breakpoint %d is %+v, want it at line %d", kept.ID, b, line)
	}
	if b := got[lost.ID]; !b.Disabled {
		t.Errorf("breakpoint %d is %+v, want it disabled", lost.ID, b)
	}
	if want := fmt.Sprintf("lost %s:%d", h.path(), removed); !strings.Contains(h.reports.text(), want) {
		t.Errorf("the terminal does not show %q", want)
	}
	waiting := c.command("continue")
	c.hit(waiting, line)
	c.conn.Close()
	h.undisturbed()
}
