package loop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"devloop/internal/testkit"
)

// TestRestart runs the program in a new process, changed or not.
func TestRestart(t *testing.T) {
	t.Parallel()
	h := start(t)
	if err := h.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "not been built") {
		t.Errorf("Restart() before the first build = %v, want an error that says so", err)
	}
	first := h.serving()
	if err := h.Restart(t.Context()); err != nil {
		t.Fatalf("Restart() = %v", err)
	}
	h.prints(reloaded)
	second := h.serves("1")
	if second == first {
		t.Errorf("pid %d serves after Restart, want another", second)
	}
	h.write(version("2", ""))
	if err := h.Restart(t.Context()); err != nil {
		t.Fatalf("Restart() after an edit = %v", err)
	}
	h.prints(reloaded + edited)
	third := h.serves("2")

	h.write(bad)
	if err := h.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("Restart() of sources that are broken = %v, want the compiler's words", err)
	}
	if got := h.serves("2"); got != third {
		t.Errorf("pid %d serves after a failed Restart, want %d", got, third)
	}
	h.write(version("3", "panic"))
	if err := h.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("Restart() of a program that does not start = %v, want that said", err)
	}
	if got := h.serves("2"); got != third {
		t.Errorf("pid %d serves after a failed Restart, want %d", got, third)
	}
}

// TestRunRevives has air's entrypoint come before the supervisor has restarted a
// server that died: nothing was reloaded.
func TestRunRevives(t *testing.T) {
	t.Parallel()
	testkit.NeedProc(t)
	h := start(t)
	behaviour := filepath.Join(t.TempDir(), "behaviour")
	h.command.Env = append(h.command.Env, "BEHAVIOUR_FILE="+behaviour)
	old := h.serving()
	if err := os.WriteFile(behaviour, []byte("never-ready"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the restart", func() bool {
		for _, p := range testkit.Children(os.Getpid()) {
			if p.Args[0] == h.command.Path && p.PID != old {
				return true
			}
		}
		return false
	})
	h.command.Env = os.Environ() // this one becomes ready
	h.Run(h.command)
	h.prints(`the server \(pid \d+\) died: signal: killed; starting it again`, `  server 1 starts `, `serving again in [0-9.]+s  \(pid \d+\)`)
	h.serves("1")
}

// TestRestartOutlivesEdit: an edit overtakes the build, but not the wish.
func TestRestartOutlivesEdit(t *testing.T) {
	t.Parallel()
	h := start(t)
	first := h.serving()
	gate := testkit.NewGate(t)
	request := h.request(gate.Arg())
	h.mu.Lock()
	h.Loop.build = &request
	h.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- h.Restart(t.Context()) }()
	gate.Hold() // and let it be overtaken
	h.build(0)
	if err := testkit.Within(t, "the end of Restart", done); err != nil {
		t.Errorf("Restart() = %v", err)
	}
	if got := h.serves("1"); got == first {
		t.Errorf("pid %d serves after Restart, want another", got)
	}
}

// TestRestartGivenUp: the caller may stop waiting.
func TestRestartGivenUp(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.serving()
	gate := testkit.NewGate(t)
	request := h.request(gate.Arg())
	h.mu.Lock()
	h.Loop.build = &request
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Restart(ctx) }()
	_, open := gate.Hold()
	cancel()
	if err := testkit.Within(t, "the end of Restart", done); !errors.Is(err, context.Canceled) {
		t.Errorf("Restart() = %v, want %v", err, context.Canceled)
	}
	open()
}

// TestRefresh: a build that differs in line numbers alone serves after Refresh.
func TestRefresh(t *testing.T) {
	t.Parallel()
	h := start(t)
	if err := h.Refresh(t.Context()); err == nil {
		t.Error("Refresh() before the first build = nil, want an error")
	}
	first := h.serving()
	if err := h.Refresh(t.Context()); err != nil || h.serves("1") != first {
		t.Errorf("Refresh() = %v, pid %d serves, want %d still", err, h.serves("1"), first)
	}
	h.prints()
	main, err := os.ReadFile(filepath.Join(h.Dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	h.writeTo("main.go", "// A comment.\n"+string(main))
	h.build(0)
	h.prints(`no reload: only line numbers changed, pid \d+ keeps serving  main\.go`)
	h.Server.Debugging = func() bool { return true }
	if err := h.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
	h.prints(reloaded)
	second := h.serves("1")
	if second == first {
		t.Errorf("pid %d serves after Refresh, want another", second)
	}
	h.writeTo("main.go", "// Two\n// comments.\n"+string(main))
	h.build(0)
	h.prints(reloaded + `  main\.go`)
	if got := h.serves("1"); got == second {
		t.Errorf("pid %d serves after lines moved while someone debugs, want another", got)
	}
}
