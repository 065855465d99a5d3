package relay_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/dap"
	"devloop/internal/delve"
	"devloop/internal/listener"
	"devloop/internal/process"
	"devloop/internal/relay"
	"devloop/internal/supervisor"
	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// patience bounds every wait; it passes only when a test fails.
const patience = time.Minute

// A harness is a server that is kept serving, and a relay to debug it through.
type harness struct {
	t          *testing.T
	supervisor *supervisor.Supervisor
	relay      *relay.Relay
	address    string // of the server
	debug      string // of the relay
	dir        string // of the program's module
	original   string // what it begins with in target.go
	builds     int
	reports    *reports
	stop       func() // ends the relay, as when the loop ends
}

// reports are the lines that a terminal would show.
type reports struct {
	mu    sync.Mutex
	lines []string
}

func (r *reports) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *reports) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

func (r *reports) Write(p []byte) (int, error)              { r.add("%s", p); return len(p), nil }
func (r *reports) Restarted(pid int, _ time.Duration)       { r.add("restarted %d", pid) }
func (r *reports) RestartFailed(err error, _ time.Duration) { r.add("restart failed: %v", err) }
func (r *reports) Overran(pid int, _ time.Duration)         { r.add("overran %d", pid) }
func (r *reports) DebuggerAttached(_ string, pid int)       { r.add("attached %d", pid) }
func (r *reports) DebuggerDetached(string)                  { r.add("detached") }
func (r *reports) DebuggerFailed(client string, err error) {
	r.add("debugger failed: %s: %v", client, err)
}

func (r *reports) Crashed(pid int, how string, _ []string, _ bool) { r.add("crashed %d: %s", pid, how) }

func (r *reports) DebuggerMoved(pid int, _ time.Duration, halted bool) {
	r.add("moved %d halted %v", pid, halted)
}

// start runs the first build. When the test ends, nothing is left.
func start(t *testing.T) *harness {
	t.Helper()
	testkit.NeedProc(t)
	sockets, err := listener.Open(t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	debuggers, err := listener.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run := testkit.ShortDir(t)
	starter := process.NewStarter()
	r := &reports{}
	h := &harness{
		t: t, address: sockets.Addresses()[0], debug: debuggers.Addr().String(), dir: t.TempDir(), reports: r,
		supervisor: &supervisor.Supervisor{
			Starter: starter, Listeners: sockets.Files(), RunDir: run,
			ReadyTimeout: patience, DrainTimeout: patience, HandoverTimeout: patience, Output: r, Reporter: r,
		},
	}
	h.supervisor.Init()
	h.relay = &relay.Relay{
		Server: h.supervisor, Reporter: r,
		Launcher: &delve.Launcher{Starter: starter, Program: testkit.Delve(t), Dir: run},
		Restart:  func(ctx context.Context) error { _, err := h.supervisor.Replace(ctx, h.command()); return err },
	}
	h.relay.SetPatience(time.Hour)
	h.relay.Refresh = func(ctx context.Context) error { _, err := h.supervisor.Swap(ctx, h.command(), false); return err }
	h.supervisor.BeforeStop, h.supervisor.Debugging = h.relay.Release, h.relay.Debugging
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { h.relay.Serve(ctx, debuggers) })
	h.stop = func() {
		cancel()
		tasks.Wait()
	}
	t.Cleanup(func() {
		h.stop()
		h.supervisor.Close(context.Background())
		sockets.Close()
		if d := h.delves(); len(d) > 0 {
			t.Errorf("left: %v", d)
		}
		starter.Close()
		if t.Failed() {
			t.Logf("the terminal shows:\n%s", r.text())
		}
	})
	testkit.WriteServer(t, h.dir)
	text, err := os.ReadFile(h.path())
	if err != nil {
		t.Fatal(err)
	}
	h.original = string(text)
	h.reload(0)
	return h
}

// delves lists the debuggers that run.
func (h *harness) delves() []testkit.Proc {
	var out []testkit.Proc
	for _, p := range testkit.Children(os.Getpid()) {
		if filepath.Base(p.Args[0]) == "dlv" {
			out = append(out, p)
		}
	}
	return out
}

func (h *harness) command() supervisor.Command {
	return supervisor.Command{Path: filepath.Join(h.dir, "tmp", "server"), Dir: h.dir, Env: os.Environ()}
}

// source is the file that is debugged, and its line "here" as shifted.
func (h *harness) source(shift int) (text string, line int) {
	text = strings.Replace(h.original, "// debugged is", strings.Repeat("//\n", shift)+"// debugged is", 1)
	before, _, _ := strings.Cut(text, "// here")
	return text, 1 + strings.Count(before, "\n")
}

func (h *harness) path() string { return filepath.Join(h.dir, "target.go") }

// build builds the program with the target shifted by some lines.
func (h *harness) build(shift int) {
	h.t.Helper()
	text, _ := h.source(shift)
	text += fmt.Sprintf("\nfunc init() { version = %q }\n", fmt.Sprint(h.builds))
	if err := os.WriteFile(h.path(), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	testkit.Build(h.t, h.dir, filepath.Join(h.dir, "tmp", "server"))
}

// reload builds another program, with the target shifted, and swaps.
func (h *harness) reload(shift int) (pid int) {
	h.t.Helper()
	h.builds++
	h.build(shift)
	s, err := h.supervisor.Swap(h.t.Context(), h.command(), true)
	if err != nil || s.Outcome != supervisor.Swapped {
		h.t.Fatalf("Swap() = %+v, %v, want a new process", s, err)
	}
	return s.PID
}

// moved waits until the session has moved n times in all.
func (h *harness) moved(n int) {
	h.t.Helper()
	testkit.Eventually(h.t, fmt.Sprintf("the session to move, time %d", n), func() bool { return strings.Count(h.reports.text(), "moved") >= n })
}

// An answer is what came of a request to the server.
type answer struct {
	body string
	err  error
}

// get asks the server; the answer comes whenever it does.
func (h *harness) get(path string) <-chan answer { return h.ask(http.MethodGet, path, nil) }

// post sends a body, which the server answers with the same.
func (h *harness) post(body io.Reader) <-chan answer { return h.ask(http.MethodPost, "/", body) }

func (h *harness) ask(method, path string, body io.Reader) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		// On a connection of its own: one that is kept may be to a process that
		// is about to end.
		transport := &http.Transport{DisableKeepAlives: true}
		req, err := http.NewRequest(method, "http://"+h.address+path, body)
		if err != nil {
			c <- answer{err: err}
			return
		}
		res, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			c <- answer{err: err}
			return
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		c <- answer{string(b), err}
	}()
	return c
}

// served checks that a request that was made before is answered.
func (h *harness) served(c <-chan answer) {
	h.t.Helper()
	a := testkit.Within(h.t, "an answer of the server", c)
	if a.err != nil || !strings.Contains(a.body, "hello") {
		h.t.Errorf("the server answers %q, %v, want a greeting", a.body, a.err)
	}
}

// undisturbed checks that the server serves and no one debugs it.
func (h *harness) undisturbed() {
	h.t.Helper()
	testkit.Eventually(h.t, "the end of dlv", func() bool { return len(h.delves()) == 0 })
	h.served(h.get("/debugged"))
}

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
