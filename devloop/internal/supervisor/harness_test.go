package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/listener"
	"devloop/internal/process"
	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A harness is a supervisor with a socket, and what it reported and printed.
type harness struct {
	t *testing.T
	*Supervisor
	address string
	path    string // of the binary that builds write
	command Command
	reports *reports
	printed *testkit.Buffer
	closed  bool
}

type reports struct {
	mu     sync.Mutex
	events []event
}

type event struct {
	kind       string
	pid        int
	text       string
	tail       []string
	rolledBack bool
	wait       time.Duration
	load       string
}

func (r *reports) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *reports) Crashed(pid int, how string, tail []string, rolledBack bool) {
	r.add(event{kind: "crashed", pid: pid, text: how, tail: tail, rolledBack: rolledBack})
}

func (r *reports) Restarted(pid int, took time.Duration) {
	r.add(event{kind: "restarted", pid: pid, wait: took})
}

func (r *reports) RestartFailed(err error, wait time.Duration) {
	r.add(event{kind: "restart failed", text: err.Error(), wait: wait})
}

func (r *reports) Overran(pid int, after time.Duration, cut string) {
	r.add(event{kind: "overran", pid: pid, wait: after, load: cut})
}

func (r *reports) GaveWay(pid int, cut string) { r.add(event{kind: "gave way", pid: pid, load: cut}) }

func (r *reports) Stays(pid int, has string, _ time.Time) {
	r.add(event{kind: "stays", pid: pid, load: has})
}

func (r *reports) Chosen(mode, how string) {
	r.add(event{kind: "chosen", text: mode + ": " + how})
}

// all returns the events of a kind so far.
func (r *reports) all(kind string) []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []event
	for _, e := range r.events {
		if e.kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// wait returns the n-th event of a kind.
func (r *reports) wait(t *testing.T, kind string, n int) event {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("report %d of %q", n, kind), func() bool { return len(r.all(kind)) >= n })
	return r.all(kind)[n-1]
}

// start makes a supervisor. It is closed when the test ends, and must leave
// nothing behind.
func start(t *testing.T) *harness {
	t.Helper()
	return startIn(t, func(*Supervisor) {})
}

// startIn is start with other settings.
func startIn(t *testing.T, set func(*Supervisor)) *harness {
	t.Helper()
	sockets, err := listener.Open(t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{
		t: t, address: sockets.Addresses()[0],
		path:    filepath.Join(t.TempDir(), "server"),
		reports: &reports{}, printed: &testkit.Buffer{},
	}
	h.command = h.with()
	h.Supervisor = &Supervisor{
		Starter: process.NewStarter(), Listeners: sockets.Files(), RunDir: testkit.ShortDir(t),
		ReadyTimeout: time.Minute, DrainTimeout: time.Minute, StopTimeout: time.Minute, HandoverTimeout: time.Minute,
		Output: h.printed, Reporter: h.reports,
	}
	set(h.Supervisor)
	h.Init()
	t.Cleanup(func() {
		h.close(t.Context())
		sockets.Close()
		h.Starter.Close()
	})
	return h
}

// close closes the supervisor, once, and looks for what is left.
func (h *harness) close(ctx context.Context) {
	h.t.Helper()
	if h.closed {
		return
	}
	h.closed = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Close(ctx)
	}()
	testkit.Within(h.t, "Close", done)
	for _, p := range testkit.Processes() {
		if strings.HasPrefix(p.Args[0], filepath.Dir(h.path)) {
			h.t.Errorf("process left after Close: %+v", p)
		}
	}
	if left, _ := os.ReadDir(h.RunDir); len(left) > 0 {
		h.t.Errorf("sockets left after Close: %v", left)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(h.path), retainedDir)); !os.IsNotExist(err) {
		h.t.Errorf("directory of retained binaries after Close: %v, want none", err)
	}
}

// with returns the command with more variables.
func (h *harness) with(env ...string) Command {
	return Command{Path: h.path, Dir: filepath.Dir(h.path), Env: append(os.Environ(), env...)}
}

// build puts a version of the server in place, as a build does.
func (h *harness) build(version string) {
	h.t.Helper()
	fresh := h.path + ".fresh"
	built, err := os.Open(testkit.Server(h.t, version))
	if err != nil {
		h.t.Fatal(err)
	}
	defer built.Close()
	if err := copyTo(fresh, built); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(fresh, h.path); err != nil {
		h.t.Fatal(err)
	}
}

// swap is a Swap that must succeed.
func (h *harness) swap(c Command) Swap {
	h.t.Helper()
	s, err := h.Swap(h.t.Context(), c, true)
	if err != nil {
		h.t.Fatalf("Swap() = %v%s", err, tailOf(err))
	}
	if s.Outcome != Swapped || s.PID == 0 {
		h.t.Fatalf("Swap() = %+v, want a new process", s)
	}
	return s
}

func tailOf(err error) string {
	if start, ok := errors.AsType[*StartError](err); ok {
		return "\n" + strings.Join(start.Tail, "\n")
	}
	return ""
}

// serves checks who answers.
func (h *harness) serves(version string, pid int) {
	h.t.Helper()
	got := testkit.MustAsk(h.t, h.address)
	if got.Version != version || pid != 0 && got.PID != pid {
		h.t.Errorf("version %s, pid %d serves; want version %s, pid %d", got.Version, got.PID, version, pid)
	}
}

// crash makes the serving process panic.
func (h *harness) crash() {
	h.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if resp, err := client.Get("http://" + h.address + "/panic"); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadGateway { // which devloop answers where it accepts
			h.t.Errorf("GET /panic = %s, want a connection that breaks", resp.Status)
		}
	}
}
