package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

func (r *reports) Overran(pid int, deadline time.Duration) {
	r.add(event{kind: "overran", pid: pid, wait: deadline})
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
		ReadyTimeout: time.Minute, DrainTimeout: time.Minute, HandoverTimeout: time.Minute,
		Output: h.printed, Reporter: h.reports,
	}
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
	if err := copyFile(fresh, testkit.Server(h.t, version)); err != nil {
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
		h.t.Errorf("GET /panic = %s, want a connection that breaks", resp.Status)
	}
}

func TestSwapUnderLoad(t *testing.T) {
	h := start(t)
	h.build("1")
	first := h.swap(h.command)
	load := testkit.StartLoad(t, h.address, 2)
	held := testkit.Hold(t, h.address, 300*time.Millisecond)
	last := first.PID
	for i := range 6 {
		version := strconv.Itoa(2 - i%2)
		h.build(version)
		s := h.swap(h.command)
		if s.PID == last {
			t.Errorf("Swap %d = pid %d again", i, s.PID)
		}
		last = s.PID
		if got := h.Serving(); got != s.PID {
			t.Errorf("Serving() = %d after Swap = %d", got, s.PID)
		}
		h.serves(version, s.PID)
		before := load.Count()
		testkit.Eventually(t, "more requests", func() bool { return load.Count() > before+20 })
	}
	if err := testkit.Within(t, "the answer that the first process owed", held); err != nil {
		t.Errorf("the request held across the swaps: %v", err)
	}
	load.Stop()
	testkit.Eventually(t, "the end of the first process", func() bool { return testkit.Gone(first.PID) })
	for _, kind := range []string{"crashed", "overran", "restarted", "restart failed"} {
		if got := h.reports.all(kind); len(got) > 0 {
			t.Errorf("reports of %q: %+v, want none", kind, got)
		}
	}
}

func TestFailingStart(t *testing.T) {
	tests := []struct {
		behaviour string
		reason    string
		tail      string
	}{
		{"panic", "the new build ended before it was ready (exit status 2)", "panic: broken at start"},
		{"exit", "the new build ended before it was ready (exit status 0)", "server 2 starts exit"},
		{"never-ready", "the new build was not ready within 2s (it must send READY=1 to $NOTIFY_SOCKET)", "server 2 starts never-ready"},
		{"chatty-panic", "the new build ended before it was ready (exit status 2)", "panic: broken after many words"},
	}
	h := start(t)
	h.build("1")
	pid := h.swap(h.command).PID
	load := testkit.StartLoad(t, h.address, 1)
	h.build("2")
	for _, tt := range tests {
		t.Run(tt.behaviour, func(t *testing.T) {
			if tt.behaviour == "never-ready" {
				defer func(d time.Duration) { h.ReadyTimeout = d }(h.ReadyTimeout)
				h.ReadyTimeout = 2 * time.Second
			}
			s, err := h.Swap(t.Context(), h.with("BEHAVIOUR="+tt.behaviour), true)
			start, ok := errors.AsType[*StartError](err)
			if !ok || start.Error() != tt.reason {
				t.Fatalf("Swap(%s) = %+v, %v, want %s", tt.behaviour, s, err, tt.reason)
			}
			if got := strings.Join(start.Tail, "\n"); !strings.Contains(got, tt.tail) || len(start.Tail) > tailLines {
				t.Errorf("Swap(%s): the last %d lines are %q, want %q among at most %d", tt.behaviour, len(start.Tail), got, tt.tail, tailLines)
			}
			h.serves("1", pid)
			if s, err := h.Swap(t.Context(), h.with("BEHAVIOUR="+tt.behaviour), false); err != nil || s != (Swap{Outcome: Rejected, PID: pid}) {
				t.Errorf("Swap(%s) again = %+v, %v, want it rejected", tt.behaviour, s, err)
			}
		})
	}
	if got := h.printed.String(); strings.Contains(got, "server 2") {
		t.Errorf("builds that never served printed %q", got)
	}
	s := h.swap(h.command)
	h.serves("2", s.PID)
	load.Stop()
}

func TestCannotBeRun(t *testing.T) {
	h := start(t)
	h.build("1")
	pid := h.swap(h.command).PID
	if err := os.Remove(h.path); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Swap(t.Context(), h.command, true); err == nil || !strings.Contains(err.Error(), h.path) {
		t.Errorf("Swap without a binary = %+v, %v, want an error that names it", s, err)
	}
	for name, data := range map[string]string{"empty": "", "text": "no program at all"} {
		if err := os.WriteFile(h.path, []byte(data), 0o755); err != nil {
			t.Fatal(err)
		}
		s, err := h.Swap(t.Context(), h.command, true)
		if start, ok := errors.AsType[*StartError](err); !ok || !strings.Contains(start.Reason, "cannot be run") {
			t.Errorf("Swap of %s = %+v, %v, want a start error", name, s, err)
		}
	}
	h.serves("1", pid)
	if err := os.RemoveAll(filepath.Join(filepath.Dir(h.path), retainedDir)); err != nil {
		t.Fatal(err)
	}
	h.build("2")
	h.swap(h.command)
	h.serves("2", 0)
}

// TestFirstStartFails has nothing to fall back on: requests wait.
func TestFirstStartFails(t *testing.T) {
	h := start(t)
	h.build("1")
	if s, err := h.Swap(t.Context(), h.with("BEHAVIOUR=panic"), true); err == nil || h.Serving() != 0 {
		t.Errorf("Swap = %+v, %v, serving %d, want an error and nothing", s, err, h.Serving())
	}
	answers := make(chan error, 1)
	go func() {
		_, err := testkit.Ask(h.address)
		answers <- err
	}()
	h.swap(h.command)
	if err := testkit.Within(t, "the answer to an early request", answers); err != nil {
		t.Errorf("the request made while nothing served: %v", err)
	}
}

func TestOutcomes(t *testing.T) {
	h := start(t)
	h.build("1")
	pid := h.swap(h.command).PID
	h.build("1")
	if s, err := h.Swap(t.Context(), h.command, true); err != nil || s != (Swap{Outcome: Unchanged, PID: pid}) {
		t.Errorf("Swap to the same program = %+v, %v, want it unchanged, pid %d", s, err, pid)
	}
	for _, c := range []Command{h.with("X=1"), {Path: h.path, Dir: filepath.Dir(h.path), Args: []string{"x"}, Env: h.command.Env}} {
		h.swap(c)
	}
	h.build("2")
	h.swap(h.command)
	h.serves("2", 0)
}

func TestCrash(t *testing.T) {
	h := start(t)
	h.limits.probation = 0
	h.build("1")
	pid := h.swap(h.command).PID
	changed := h.Changed()
	h.crash()
	testkit.Within(t, "a change", changed)
	crashed := h.reports.wait(t, "crashed", 1)
	if crashed.pid != pid || crashed.text != "exit status 2" || crashed.rolledBack ||
		!strings.Contains(strings.Join(crashed.tail, "\n"), "panic: broken by a request") {
		t.Errorf("Crashed%+v, want pid %d, exit status 2 and its last words", crashed, pid)
	}
	restarted := h.reports.wait(t, "restarted", 1)
	h.serves("1", restarted.pid)
	if restarted.pid == pid || h.Serving() != restarted.pid {
		t.Errorf("Restarted%+v, serving %d, want a new process", restarted, h.Serving())
	}
	h.crash()
	h.reports.wait(t, "restarted", 2)
	h.serves("1", 0)
}

// TestRollback crashes a build just after it took over.
func TestRollback(t *testing.T) {
	h := start(t)
	h.limits.probation = time.Hour
	h.build("1")
	h.swap(h.command)
	h.build("2")
	pid := h.swap(h.command).PID
	h.crash()
	if e := h.reports.wait(t, "crashed", 1); e.pid != pid || !e.rolledBack {
		t.Errorf("Crashed%+v, want pid %d, taken back", e, pid)
	}
	e := h.reports.wait(t, "restarted", 1)
	h.serves("1", e.pid)
	if s, err := h.Swap(t.Context(), h.command, false); err != nil || s.Outcome != Rejected {
		t.Errorf("Swap to the build that crashed = %+v, %v, want it rejected", s, err)
	}
	h.swap(h.command) // asked for by a new build
	h.serves("2", 0)
	h.crash()
	h.reports.wait(t, "restarted", 2)
	h.serves("1", 0)
}

// TestKilledFromOutside is no fault of the build, the first time.
func TestKilledFromOutside(t *testing.T) {
	h := start(t)
	h.limits.probation = time.Hour
	h.limits.minBackoff = time.Millisecond
	h.build("1")
	h.swap(h.command)
	h.build("2")
	pid := h.swap(h.command).PID
	for i, want := range []string{"2", "1"} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		e := h.reports.wait(t, "crashed", i+1)
		if e.pid != pid || e.text != "signal: killed" || e.rolledBack != (want == "1") {
			t.Errorf("Crashed%+v, want pid %d, killed", e, pid)
		}
		pid = h.reports.wait(t, "restarted", i+1).pid
		h.serves(want, pid)
	}
}

// TestPreviousIsTheLastGood crashes a build that had proved itself, and replaces
// it while it is down: what it replaced long ago must not come back.
func TestPreviousIsTheLastGood(t *testing.T) {
	h := start(t)
	h.limits.probation, h.limits.minBackoff = 0, time.Hour
	file := filepath.Join(t.TempDir(), "behaviour")
	h.build("1")
	h.swap(h.command)
	h.build("2")
	c := h.with("BEHAVIOUR_FILE=" + file)
	h.swap(c)
	if err := os.WriteFile(file, []byte("panic"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.crash()
	h.reports.wait(t, "restart failed", 1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	h.setProbation(time.Hour)
	h.build("3")
	h.swap(c)
	h.serves("3", 0)
	h.crash()
	h.reports.wait(t, "restarted", 1)
	h.serves("2", 0)
}

// setProbation changes the limit while processes are watched.
func (h *harness) setProbation(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limits.probation = d
}

// TestReadyThenExit loses the new process while the old one is still busy.
func TestReadyThenExit(t *testing.T) {
	for _, behaviour := range []string{"ready-exit", "ready-panic"} {
		t.Run(behaviour, func(t *testing.T) {
			h := start(t)
			h.limits.probation = time.Hour
			h.build("1")
			h.swap(h.command)
			held := testkit.Hold(t, h.address, 500*time.Millisecond)
			// Readiness and the end may also be seen at the same time.
			_, err := h.Swap(t.Context(), h.with("BEHAVIOUR="+behaviour), true)
			if err == nil {
				if e := h.reports.wait(t, "crashed", 1); !e.rolledBack {
					t.Errorf("Crashed%+v, want it taken back", e)
				}
				h.reports.wait(t, "restarted", 1)
			} else if _, ok := errors.AsType[*StartError](err); !ok {
				t.Errorf("Swap = %v, want a start error or a rollback", err)
			}
			h.serves("1", 0)
			if err := testkit.Within(t, "the held request", held); err != nil {
				t.Errorf("the held request: %v", err)
			}
		})
	}
}

// TestCrashLoop starts a build that never lasts. Its restarts come ever later,
// and a good build does not wait for the next.
func TestCrashLoop(t *testing.T) {
	h := start(t)
	h.limits.minBackoff = 10 * time.Millisecond
	file := filepath.Join(t.TempDir(), "behaviour")
	h.build("1")
	c := h.with("BEHAVIOUR_FILE=" + file)
	h.swap(c)
	if err := os.WriteFile(file, []byte("panic"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.crash()
	h.reports.wait(t, "restart failed", 4)
	var waits []time.Duration
	for _, e := range h.reports.all("restart failed")[:4] {
		waits = append(waits, e.wait)
		if want := "the server ended before it was ready (exit status 2)"; e.text != want {
			t.Errorf("RestartFailed(%s), want %s", e.text, want)
		}
	}
	if want := []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond}; !slices.Equal(waits, want) {
		t.Errorf("pauses %v, want %v", waits, want)
	}
	h.build("2")
	h.swap(h.command)
	h.serves("2", 0)
}

func TestBackoff(t *testing.T) {
	var s Supervisor
	s.Init()
	for failures, want := range []time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond,
		4: 800 * time.Millisecond, 5: 1600 * time.Millisecond, 6: 3200 * time.Millisecond,
		7: 5 * time.Second, 8: 5 * time.Second, 1000: 5 * time.Second,
	} {
		if want == 0 {
			continue
		}
		if got := s.backoff(failures); got != want {
			t.Errorf("backoff(%d) = %v, want %v", failures, got, want)
		}
	}
}

// TestSwapInterruptsPause replaces a build whose next restart is an hour away.
func TestSwapInterruptsPause(t *testing.T) {
	h := start(t)
	h.limits.probation, h.limits.minBackoff = time.Hour, time.Hour
	h.build("1")
	if _, err := h.Swap(t.Context(), h.with("BEHAVIOUR=ready-panic"), true); err == nil {
		testkit.Eventually(t, "a crash loop", func() bool {
			return len(h.reports.all("crashed")) == 2 || len(h.reports.all("restart failed")) == 1
		})
	}
	h.swap(h.command)
	h.serves("1", 0)
}

// TestSwapInterruptsRestart replaces a dead process whose restart hangs.
func TestSwapInterruptsRestart(t *testing.T) {
	h := start(t)
	h.ReadyTimeout = time.Hour
	h.limits.probation = 0
	file := filepath.Join(t.TempDir(), "behaviour")
	hangs := h.with("BEHAVIOUR_FILE=" + file)
	for range 5 {
		os.Remove(file)
		h.build("1")
		h.swap(hangs)
		if err := os.WriteFile(file, []byte("never-ready"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.crash()
		h.build("2")
		swapped := make(chan error)
		go func() {
			_, err := h.Swap(context.Background(), h.command, true)
			swapped <- err
		}()
		if err := testkit.Within(t, "a swap during a restart that hangs", swapped); err != nil {
			t.Errorf("Swap = %v", err)
		}
		h.serves("2", 0)
	}
	testkit.Eventually(t, "the end of all but one process", func() bool { return len(testkit.Children(os.Getpid())) == 1 })
}

// TestRestartGoesOn has a swap fail while a restart is under way.
func TestRestartGoesOn(t *testing.T) {
	h := start(t)
	h.limits.probation = 0
	file := filepath.Join(t.TempDir(), "behaviour")
	h.build("1")
	h.swap(h.with("BEHAVIOUR_FILE=" + file))
	if err := os.WriteFile(file, []byte("never-ready"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.crash()
	h.reports.wait(t, "crashed", 1) // and gone: the next child is the restart's
	testkit.Eventually(t, "a restart", func() bool { return len(testkit.Children(os.Getpid())) == 1 })
	h.build("2")
	if s, err := h.Swap(t.Context(), h.with("BEHAVIOUR=panic"), true); err == nil {
		t.Errorf("Swap to a build that panics = %+v, want an error", s)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	// The interrupted restart may have begun again before the file was gone.
	for _, p := range testkit.Children(os.Getpid()) {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	h.reports.wait(t, "restarted", 1)
	h.serves("1", 0)
}

// TestNewestWins cancels a swap while its process is starting.
func TestNewestWins(t *testing.T) {
	h := start(t)
	h.ReadyTimeout = time.Hour
	h.build("1")
	pid := h.swap(h.command).PID
	errNewer := errors.New("a newer one")
	for range 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		swapped := make(chan error)
		go func() {
			_, err := h.Swap(ctx, h.with("BEHAVIOUR=never-ready"), true)
			swapped <- err
		}()
		testkit.Eventually(t, "a candidate", func() bool { return len(testkit.Children(os.Getpid())) == 2 })
		cancel(errNewer)
		if err := testkit.Within(t, "the end of a cancelled swap", swapped); !errors.Is(err, errNewer) {
			t.Errorf("Swap = %v, want %v", err, errNewer)
		}
		if got := testkit.Children(os.Getpid()); len(got) != 1 || got[0].PID != pid {
			t.Errorf("processes after a cancelled swap: %+v, want only %d", got, pid)
		}
		h.serves("1", pid)
		if _, err := h.Swap(ctx, h.command, true); !errors.Is(err, errNewer) {
			t.Errorf("Swap with a context that is done = %v, want %v", err, errNewer)
		}
	}
}

func TestOverrun(t *testing.T) {
	tests := []struct {
		name string
		env  string
		hold time.Duration
	}{
		{"a request without end", "X=1", time.Hour},
		{"deaf to SIGTERM", "BEHAVIOUR=ignore-term", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t)
			h.DrainTimeout = 100 * time.Millisecond
			h.HandoverTimeout = 10 * time.Millisecond
			h.build("1")
			pid := h.swap(h.with(tt.env)).PID
			var held <-chan error
			if tt.hold > 0 {
				held = testkit.Hold(t, h.address, tt.hold)
			}
			h.build("2")
			next := h.swap(h.command).PID
			e := h.reports.wait(t, "overran", 1)
			if e.pid != pid || e.wait != h.DrainTimeout {
				t.Errorf("Overran%+v, want pid %d after %v", e, pid, h.DrainTimeout)
			}
			testkit.Eventually(t, "the end of the old process", func() bool { return testkit.Gone(pid) })
			if held != nil {
				if err := testkit.Within(t, "the held request", held); err == nil {
					t.Error("the held request was answered, want it cut")
				}
			}
			h.serves("2", next)
			if got := h.reports.all("crashed"); len(got) > 0 {
				t.Errorf("reports of a crash: %+v, want none", got)
			}
		})
	}
}

// TestRetained crashes a build whose file was replaced, then removed.
func TestRetained(t *testing.T) {
	h := start(t)
	h.limits.probation = 0
	h.build("1")
	h.swap(h.command)
	h.build("2")
	if _, err := h.Swap(t.Context(), h.with("BEHAVIOUR=panic"), true); err == nil {
		t.Error("Swap to a build that panics = nil, want an error")
	}
	h.build("3")
	h.crash()
	h.reports.wait(t, "restarted", 1)
	h.serves("1", 0)
	if err := os.Remove(h.path); err != nil {
		t.Fatal(err)
	}
	h.crash()
	h.reports.wait(t, "restarted", 2)
	h.serves("1", 0)
	h.build("3")
	h.swap(h.command)
	h.build("2")
	h.swap(h.command)
	dir := filepath.Join(filepath.Dir(h.path), retainedDir)
	if kept, _ := os.ReadDir(dir); len(kept) != 2 {
		t.Errorf("retained: %v, want the serving build and the one before", kept)
	}
}

// TestChildOfTheServer looks for what a server leaves in its group.
func TestChildOfTheServer(t *testing.T) {
	testkit.NeedProc(t)
	h := start(t)
	h.limits.probation = 0
	h.build("1")
	child := func(file string) int {
		pid, err := strconv.Atoi(testkit.WaitFile(t, file))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	file := filepath.Join(t.TempDir(), "pid")
	h.swap(h.with("BEHAVIOUR=child", "PIDFILE="+file))
	first := child(file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	h.crash()
	testkit.Eventually(t, "the end of a crashed server's child", func() bool { return testkit.Gone(first) })
	h.reports.wait(t, "restarted", 1)
	second := child(file)
	h.swap(h.command)
	testkit.Eventually(t, "the end of a replaced server's child", func() bool { return testkit.Gone(second) })
}

func TestOutput(t *testing.T) {
	h := start(t)
	h.build("1")
	h.swap(h.with("BEHAVIOUR=chatty"))
	testkit.Eventually(t, "the last line", func() bool {
		return strings.HasSuffix(h.printed.String(), "line 19999 of a server that has much to say\n")
	})
	lines := strings.Split(strings.TrimSuffix(h.printed.String(), "\n"), "\n")
	if len(h.printed.String()) < maxHeld {
		t.Errorf("%d bytes were passed on, want at least the %d that are held back", len(h.printed.String()), maxHeld)
	}
	for i, line := range lines[1:] { // the first may be cut
		if want := fmt.Sprintf("line %d of a server that has much to say", 20000-len(lines)+1+i); line != want {
			t.Fatalf("line %d = %q, want %q", i+1, line, want)
		}
	}
}

func TestClose(t *testing.T) {
	t.Run("before anything", func(t *testing.T) { start(t).close(t.Context()) })
	t.Run("while a request is answered", func(t *testing.T) {
		h := start(t)
		h.build("1")
		h.swap(h.command)
		held := testkit.Hold(t, h.address, 200*time.Millisecond)
		h.close(t.Context())
		if err := testkit.Within(t, "the held request", held); err != nil {
			t.Errorf("the held request: %v", err)
		}
	})
	t.Run("with servers that do not end, and impatience", func(t *testing.T) {
		h := start(t)
		h.HandoverTimeout = time.Millisecond
		h.build("1")
		for _, env := range []string{"BEHAVIOUR=ignore-term", "BEHAVIOUR=ignore-term"} {
			h.swap(h.with(env, fmt.Sprint("X=", h.Serving())))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		h.close(ctx)
	})
	t.Run("while a restart is due", func(t *testing.T) {
		h := start(t)
		h.limits.minBackoff = time.Hour
		h.build("1")
		c := h.with("BEHAVIOUR_FILE=" + filepath.Join(t.TempDir(), "behaviour"))
		h.swap(c)
		if err := os.WriteFile(strings.TrimPrefix(c.Env[len(c.Env)-1], "BEHAVIOUR_FILE="), []byte("panic"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.crash()
		h.reports.wait(t, "restart failed", 1)
		h.close(t.Context())
	})
	t.Run("while a restart hangs", func(t *testing.T) {
		h := start(t)
		h.ReadyTimeout = time.Hour
		h.build("1")
		c := h.with("BEHAVIOUR_FILE=" + filepath.Join(t.TempDir(), "behaviour"))
		h.swap(c)
		if err := os.WriteFile(strings.TrimPrefix(c.Env[len(c.Env)-1], "BEHAVIOUR_FILE="), []byte("never-ready"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.crash()
		h.reports.wait(t, "crashed", 1)
		h.close(t.Context())
	})
}

// TestCloseAtTheCrash closes at the very moment at which the server dies.
func TestCloseAtTheCrash(t *testing.T) {
	for range 10 {
		h := start(t)
		h.build("1")
		pid := h.swap(h.command).PID
		changed := h.Changed()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		testkit.Within(t, "the death", changed)
		h.close(t.Context())
	}
}

// TestStorm swaps, cancels, kills and crashes at once. In the end, the last
// build serves.
func TestStorm(t *testing.T) {
	h := start(t)
	h.limits.minBackoff, h.limits.maxBackoff = time.Millisecond, 5*time.Millisecond
	h.HandoverTimeout = 10 * time.Millisecond
	h.DrainTimeout = 20 * time.Millisecond
	h.build("1")
	h.swap(h.command)
	stop := make(chan struct{})
	var killer, swappers sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(7 * time.Millisecond):
				if pid := h.Serving(); pid != 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
	})
	for i := range 3 {
		swappers.Go(func() {
			for j := range 10 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(3+j)*4*time.Millisecond)
				behaviour := []string{"", "panic", "ready-panic", "never-ready"}[(i+j)%4]
				// Any outcome is right, as long as there is one.
				_, _ = h.Swap(ctx, h.with(fmt.Sprintf("X=%d.%d", i, j), "BEHAVIOUR="+behaviour), j%2 == 0)
				cancel()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		swappers.Wait()
	}()
	testkit.Within(t, "the last swap", done)
	close(stop)
	killer.Wait()
	h.HandoverTimeout = time.Minute // until only the last build answers
	h.build("2")
	pid := h.swap(h.command).PID
	h.serves("2", pid)
	testkit.Eventually(t, "the end of all but one process", func() bool { return len(testkit.Children(os.Getpid())) == 1 })
}
