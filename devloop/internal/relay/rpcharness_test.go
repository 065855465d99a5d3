package relay_test

import (
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

// A delveClient is a scripted client of Delve's own protocol, as GoLand and
// "dlv connect" are.
type delveClient struct {
	t    *testing.T
	h    *harness
	rpc  *rpc.Client
	conn net.Conn
}

// delve connects a client, which is attached once its first call is answered.
func (h *harness) delve() *delveClient {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.debug)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &delveClient{t: h.t, h: h, rpc: jsonrpc.NewClient(conn), conn: conn}
	h.t.Cleanup(func() { c.rpc.Close() })
	return c
}

// What is read of Delve's answers (Documentation/api in its repository).
type (
	delveBreakpoint struct {
		ID       int    `json:"id"`
		Name     string `json:"name"`
		File     string `json:"file"`
		Line     int    `json:"line"`
		Disabled bool   `json:"disabled"`
	}
	delveState struct {
		Running        bool
		NextInProgress bool
		Exited         bool `json:"exited"`
		CurrentThread  *struct {
			File       string           `json:"file"`
			Line       int              `json:"line"`
			Breakpoint *delveBreakpoint `json:"breakPoint"`
		} `json:"currentThread"`
	}
	stateOut      struct{ State delveState }
	breakpointOut struct{ Breakpoint delveBreakpoint }
)

type arguments map[string]any

// begin sends a request.
func (c *delveClient) begin(method string, in, out any) *rpc.Call {
	return c.rpc.Go("RPCServer."+method, in, out, make(chan *rpc.Call, 1))
}

// answer waits for the answer to a request.
func (c *delveClient) answer(call *rpc.Call) error {
	c.t.Helper()
	return testkit.Within(c.t, "the answer to "+call.ServiceMethod, call.Done).Error
}

// call sends a request that must succeed.
func (c *delveClient) call(method string, in, out any) {
	c.t.Helper()
	if err := c.answer(c.begin(method, in, out)); err != nil {
		c.t.Fatalf("%s(%v): %v", method, in, err)
	}
}

func (c *delveClient) attach() {
	c.t.Helper()
	c.call("SetApiVersion", arguments{"APIVersion": 2}, &struct{}{})
}

func (c *delveClient) breakAt(file string, line int) delveBreakpoint {
	c.t.Helper()
	var out breakpointOut
	c.call("CreateBreakpoint", arguments{"Breakpoint": arguments{"file": file, "line": line}}, &out)
	return out.Breakpoint
}

func (c *delveClient) command(name string) *rpc.Call {
	return c.begin("Command", arguments{"name": name}, &stateOut{})
}

// stopped waits for the end of a command.
func (c *delveClient) stopped(call *rpc.Call) delveState {
	c.t.Helper()
	if err := c.answer(call); err != nil {
		c.t.Fatalf("command %v: %v", call.Args, err)
	}
	return call.Reply.(*stateOut).State
}

// stoppedAt waits for the end of a command and checks where that is.
func (c *delveClient) stoppedAt(call *rpc.Call, file string, line int) {
	c.t.Helper()
	s := c.stopped(call)
	if s.CurrentThread == nil || s.CurrentThread.File != file || s.CurrentThread.Line != line {
		c.t.Fatalf("stopped: %+v at %+v, want %s:%d", s, s.CurrentThread, file, line)
	}
}

// greeting checks a variable of the debugged function.
func (c *delveClient) greeting() {
	c.t.Helper()
	var out struct {
		Variable struct {
			Value string `json:"value"`
		}
	}
	c.call("Eval", arguments{"Scope": arguments{"GoroutineID": -1}, "Expr": "greeting", "Cfg": arguments{"MaxStringLen": 64}}, &out)
	if out.Variable.Value != "hello world" {
		c.t.Errorf("greeting = %q, want a hello", out.Variable.Value)
	}
}

// hit has the server stop at the breakpoint again while the client waits
// for that, and continues it; the client waits again then.
func (c *delveClient) hit(waiting *rpc.Call, line int) *rpc.Call {
	c.t.Helper()
	greeting := c.h.get("/debugged")
	c.stoppedAt(waiting, c.h.path(), line)
	waiting = c.command("continue")
	c.h.served(greeting)
	return waiting
}

// paused checks that the process is paused.
func (c *delveClient) paused() {
	c.t.Helper()
	var out stateOut
	c.call("State", arguments{"NonBlocking": true}, &out)
	if out.State.Running || out.State.Exited {
		c.t.Errorf("the process runs or has ended: %+v, want it paused", out.State)
	}
}

func (c *delveClient) breakpoints() map[int]delveBreakpoint {
	c.t.Helper()
	var out struct{ Breakpoints []delveBreakpoint }
	c.call("ListBreakpoints", arguments{"All": false}, &out)
	byID := make(map[int]delveBreakpoint)
	for _, b := range out.Breakpoints {
		if b.ID > 0 { // the others are dlv's own
			byID[b.ID] = b
		}
	}
	return byID
}

// lineOf returns the only line of a file that has a text in it.
func lineOf(t *testing.T, path, text string) int {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(content), text)
	if !ok || strings.Count(string(content), text) != 1 {
		t.Fatalf("%s holds %q not just once", path, text)
	}
	return 1 + strings.Count(before, "\n")
}
