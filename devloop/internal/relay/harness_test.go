package relay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
	dir        string // of the program's module, which all tests share
	original   string // what it begins with in target.go
	builds     int
	env        []string // of the server, beside this process's
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
func (r *reports) Overran(pid int, _ time.Duration, _ string) {
	r.add("overran %d", pid)
}
func (r *reports) GaveWay(pid int, _ string)            { r.add("gave way %d", pid) }
func (r *reports) Stays(pid int, _ string, _ time.Time) { r.add("stays %d", pid) }
func (r *reports) Chosen(mode, _ string)                { r.add("mode %s", mode) }
func (r *reports) DebuggerAttached(_ string, pid int)   { r.add("attached %d", pid) }
func (r *reports) DebuggerDetached(string)              { r.add("detached") }
func (r *reports) DebuggerFailed(client string, err error) {
	r.add("debugger failed: %s: %v", client, err)
}

func (r *reports) BreakpointLost(file string, line int) { r.add("lost %s:%d", file, line) }

func (r *reports) Crashed(pid int, how string, _ []string, _ bool) { r.add("crashed %d: %s", pid, how) }

func (r *reports) DebuggerMoved(pid int, _ time.Duration, halted bool) {
	r.add("moved %d halted %v", pid, halted)
}

// start runs the first build. When the test ends, nothing is left.
func start(t *testing.T) *harness {
	t.Helper()
	return startIn(t, supervisor.Socket, "")
}

// startIn is start in another mode, with a variable for a server that suits it.
func startIn(t *testing.T, mode supervisor.Mode, env string, backends ...string) *harness {
	t.Helper()
	testkit.NeedProc(t)
	dlv := testkit.Delve(t) // which may skip the test
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
		t: t, address: sockets.Addresses()[0], debug: debuggers.Addr().String(), dir: testkit.Module(t), reports: r,
		supervisor: &supervisor.Supervisor{
			Starter: starter, Listeners: sockets.Files(), RunDir: run, Mode: mode, Backends: backends,
			ReadyTimeout: patience, DrainTimeout: patience, StopTimeout: patience, HandoverTimeout: patience, Output: r, Reporter: r,
		},
	}
	if env != "" {
		h.env = append(h.env, env)
	}
	h.supervisor.Init()
	h.relay = &relay.Relay{
		Server: h.supervisor, Reporter: r,
		Launcher: &delve.Launcher{Starter: starter, Program: dlv, Dir: run},
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
	return supervisor.Command{Path: filepath.Join(h.dir, "tmp", "server"), Dir: h.dir, Env: append(os.Environ(), h.env...)}
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
		// On a new connection: one that is kept may be to a process that
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
