package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"devloop/internal/testkit"
)

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
	h := startIn(t, func(s *Supervisor) { s.DrainTimeout, s.StopTimeout = 20*time.Millisecond, 20*time.Millisecond })
	h.limits.minBackoff, h.limits.maxBackoff = time.Millisecond, 5*time.Millisecond
	h.HandoverTimeout = 10 * time.Millisecond
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
