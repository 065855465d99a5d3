package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"devloop/internal/testkit"
)

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
		t.Errorf("Crashed%+v, want pid %d, rolled back", e, pid)
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

// TestKilledFromOutside: the first time, the build is not blamed.
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

// TestRestartGoesOn has a swap fail while a restart runs.
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
