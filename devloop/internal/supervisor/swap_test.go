package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"devloop/internal/testkit"
)

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
		{"never-ready", "the new build was not ready within 5s (it must accept on the socket that it inherits and send READY=1 to $NOTIFY_SOCKET; it listens nowhere)", "server 2 starts never-ready"},
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
				h.ReadyTimeout = 5 * time.Second
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

// TestReadyThenExit loses the new process while the old one is still busy.
func TestReadyThenExit(t *testing.T) {
	for _, behaviour := range []string{"ready-exit", "ready-panic"} {
		t.Run(behaviour, func(t *testing.T) {
			h := start(t)
			h.limits.probation = time.Hour
			h.limits.minBackoff = time.Millisecond
			h.build("1")
			h.swap(h.command)
			held := testkit.Hold(t, h.address, 500*time.Millisecond)
			// Readiness and the end may also be seen at the same time.
			_, err := h.Swap(t.Context(), h.with("BEHAVIOUR="+behaviour), true)
			if err == nil {
				// An exit with 0 is blamed on the build only once it recurs.
				testkit.Eventually(t, "a rollback", func() bool {
					all := h.reports.all("crashed")
					return len(all) > 0 && all[len(all)-1].rolledBack
				})
				testkit.Eventually(t, "the previous build", func() bool {
					a, err := testkit.Ask(h.address)
					return err == nil && a.PID == h.Serving()
				})
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
		cut  string
	}{
		{"a request without end", "X=1", time.Hour, "1 connection"},
		{"deaf to SIGTERM", "BEHAVIOUR=ignore-term", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := startIn(t, func(s *Supervisor) { s.DrainTimeout, s.StopTimeout = 400*time.Millisecond, 200*time.Millisecond })
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
			after := h.StopTimeout
			if tt.hold > 0 {
				after = h.DrainTimeout
			}
			if e.pid != pid || e.wait != after || e.load != tt.cut {
				t.Errorf("Overran%+v, want pid %d after %v, with %q cut", e, pid, after, tt.cut)
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
