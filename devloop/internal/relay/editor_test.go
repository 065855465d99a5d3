package relay_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/dap"
)

// An editor is a scripted client of the Debug Adapter Protocol.
type editor struct {
	t    *testing.T
	conn *dap.Conn
	// reconfigures has it send its breakpoints again when asked to, at
	// these lines, as VS Code does; others ignore it, as Zed does.
	reconfigures bool
	path         string

	mu       sync.Mutex
	line     int
	messages []dap.Message
	taken    []bool
	closed   bool
}

func (h *harness) connect(reconfigures bool) *editor {
	h.t.Helper()
	if !reconfigures {
		h.relay.SetPatience(0) // which is to run out
	}
	conn, err := net.Dial("tcp", h.debug)
	if err != nil {
		h.t.Fatal(err)
	}
	e := &editor{t: h.t, conn: dap.NewConn(conn, nil), reconfigures: reconfigures, path: h.path()}
	go func() {
		for {
			m, err := e.conn.Receive()
			e.mu.Lock()
			if err != nil {
				e.closed = true
				e.mu.Unlock()
				return
			}
			e.messages = append(e.messages, m)
			e.taken = append(e.taken, false)
			again := m.Type == dap.Event && m.Event == "initialized" && e.reconfigures && e.line > 0
			e.mu.Unlock()
			if again {
				e.configure()
			}
		}
	}()
	h.t.Cleanup(func() { conn.Close() })
	return e
}

// send sends a request and returns it with its number.
func (e *editor) send(command string, arguments any) dap.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := dap.NewRequest(command, arguments)
	m.Seq, _ = e.conn.Send(m) // a broken connection shows when the answer is awaited
	return m
}

// configure sends the breakpoint and that it was the last.
func (e *editor) configure() {
	e.mu.Lock()
	line := e.line
	e.mu.Unlock()
	e.breakAt(line)
	e.send("setExceptionBreakpoints", map[string]any{"filters": []string{}})
	e.send("configurationDone", nil)
}

func (e *editor) breakAt(lines ...int) dap.Message {
	at := []map[string]int{}
	for _, line := range lines {
		at = append(at, map[string]int{"line": line})
	}
	return e.send("setBreakpoints", map[string]any{"source": map[string]string{"path": e.path}, "breakpoints": at})
}

// await returns the first message, not returned before, that is wanted.
func (e *editor) await(what string, wanted func(dap.Message) bool) dap.Message {
	e.t.Helper()
	var found *dap.Message
	deadline := time.Now().Add(patience)
	for {
		e.mu.Lock()
		for i, m := range e.messages {
			if found == nil && !e.taken[i] && wanted(m) {
				e.taken[i], found = true, &m
			}
		}
		closed := e.closed
		e.mu.Unlock()
		if found != nil {
			return *found
		}
		if closed || time.Now().After(deadline) {
			e.t.Fatalf("waited for %s (connection closed: %v), got:\n%s", what, closed, e.transcript())
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (e *editor) transcript() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, m := range e.messages {
		text, _ := m.MarshalJSON()
		fmt.Fprintf(&b, "%.200s\n", text)
	}
	return b.String()
}

func (e *editor) event(name string) dap.Message {
	e.t.Helper()
	return e.await("event "+name, func(m dap.Message) bool { return m.Type == dap.Event && m.Event == name })
}

// forget drops what has come so far.
func (e *editor) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.taken {
		e.taken[i] = true
	}
}

// count returns how many events of that name have come.
func (e *editor) count(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, m := range e.messages {
		if m.Type == dap.Event && m.Event == name {
			n++
		}
	}
	return n
}

func (e *editor) response(to dap.Message) dap.Message {
	e.t.Helper()
	return e.await("the answer to "+to.Command, func(m dap.Message) bool { return m.Type == dap.Response && m.RequestSeq == to.Seq })
}

// call sends a request that must succeed.
func (e *editor) call(command string, arguments any) dap.Message {
	e.t.Helper()
	m := e.response(e.send(command, arguments))
	if !m.Success {
		text, _ := m.MarshalJSON()
		e.t.Fatalf("%s = %s, want success", command, text)
	}
	return m
}

func (e *editor) initialize() dap.Message {
	e.t.Helper()
	return e.call("initialize", map[string]any{
		"clientName": "a test", "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true,
	})
}

// attach begins a session with a breakpoint at a line, or none for 0.
func (e *editor) attach(line int) {
	e.t.Helper()
	e.initialize()
	m := e.send("attach", map[string]any{"mode": "remote", "host": "127.0.0.1", "port": 2345})
	e.event("initialized")
	if m := e.response(m); !m.Success {
		e.t.Fatal("attach failed")
	}
	if line > 0 {
		e.call("setBreakpoints", map[string]any{"source": map[string]string{"path": e.path}, "breakpoints": []map[string]int{{"line": line}}})
	}
	e.call("configurationDone", nil)
	e.move(line)
}

// move tells where the editor has its breakpoint from now on.
func (e *editor) move(line int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.line = line
}

// stoppedAt waits for a stop and checks where it is.
func (e *editor) stoppedAt(line int) (thread int) {
	e.t.Helper()
	var stopped struct {
		ThreadID int    `json:"threadId"`
		Reason   string `json:"reason"`
	}
	if err := e.event("stopped").Field("body", &stopped); err != nil {
		e.t.Fatal(err)
	}
	var stack struct {
		StackFrames []struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
			Line int    `json:"line"`
		} `json:"stackFrames"`
	}
	if err := e.call("stackTrace", map[string]int{"threadId": stopped.ThreadID}).Field("body", &stack); err != nil {
		e.t.Fatal(err)
	}
	if len(stack.StackFrames) == 0 || stack.StackFrames[0].Line != line || stack.StackFrames[0].Name != "main.debugged" {
		e.t.Errorf("stopped (%s) at %+v, want main.debugged, line %d", stopped.Reason, stack.StackFrames, line)
	}
	var value struct {
		Result string `json:"result"`
	}
	if err := e.call("evaluate", map[string]any{"expression": "greeting", "frameId": stack.StackFrames[0].ID}).Field("body", &value); err != nil {
		e.t.Fatal(err)
	}
	if !strings.Contains(value.Result, "hello") {
		e.t.Errorf("greeting = %s, want a hello", value.Result)
	}
	return stopped.ThreadID
}

func (e *editor) continues(thread int) {
	e.t.Helper()
	e.call("continue", map[string]int{"threadId": thread})
}

// hit has the server stop at the editor's breakpoint, and continues it.
func (h *harness) hit(e *editor, line int) {
	h.t.Helper()
	greeting := h.get("/debugged")
	e.continues(e.stoppedAt(line))
	h.served(greeting)
}
