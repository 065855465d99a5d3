package loop

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"devloop/internal/supervisor"
	"devloop/internal/testkit"
)

func TestReload(t *testing.T) {
	t.Parallel()
	h := start(t)
	if got := h.Status(); got != (Status{}) {
		t.Errorf("Status() = %+v before the first build, want nothing", got)
	}
	h.build(0)
	h.prints() // air has not said yet what to run
	if got := h.Status(); got != (Status{}) {
		t.Errorf("Status() = %+v before the first run, want nothing", got)
	}
	h.Run(h.command)
	h.prints(`serving  here  \(pid \d+\)`)
	first := h.serves("1")
	if got, want := h.Status(), (Status{PID: first}); got != want {
		t.Errorf("Status() = %+v, want %+v", got, want)
	}

	h.write(version("2", ""))
	h.build(0)
	h.prints(reloaded + edited)
	second := h.serves("2")
	if got, want := h.Status(), (Status{PID: second, Reloads: 1}); second == first || got != want {
		t.Errorf("Status() = %+v, want %+v and not pid %d", got, want, first)
	}

	h.Run(h.command) // as air does after each build
	h.prints()
	if got := h.serves("2"); got != second {
		t.Errorf("pid %d serves after the same was run, want %d", got, second)
	}

	other := h.command
	other.Args = []string{"-another"}
	h.Run(other)
	h.prints(reloaded)
	if got := h.serves("2"); got == second {
		t.Errorf("pid %d serves after another command was run, want another", got)
	}
}

// TestUnchanged edits what makes no difference to the program.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	h := start(t)
	pid := h.serving()
	main, err := os.ReadFile(filepath.Join(h.Dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, file, text, want string }{
		{"the same text", versionFile, version("1", ""), `no reload: same program, pid \d+ keeps serving  version\.go`},
		{"a comment", "main.go", "// A comment.\n" + string(main), `no reload: only line numbers changed, pid \d+ keeps serving  main\.go`},
	}
	for _, tt := range tests {
		h.writeTo(tt.file, tt.text)
		h.build(0)
		h.prints(tt.want)
		if got := h.serves("1"); got != pid {
			t.Errorf("pid %d serves after an edit of %s, want %d as before", got, tt.name, pid)
		}
	}
	h.build(0)
	h.prints() // no one edited anything
}

func TestFailedBuild(t *testing.T) {
	t.Parallel()
	h := start(t)
	told := []string{`build failed in [0-9.]+s: ` + servesOn, `  version\.go:3:26: undefined: missing`, `  version\.go:3:35: undefined: absent`}

	h.write(bad)
	h.build(1)
	h.prints(slices.Concat([]string{`build failed in [0-9.]+s: nothing serves yet; requests wait for the next good build`}, told[1:])...)
	h.write(version("1", ""))
	pid := h.serving()

	h.write(bad)
	h.build(1)
	h.prints(told...)
	const failure = "./version.go:3:26: undefined: missing\n./version.go:3:35: undefined: absent"
	check := func(when string) {
		t.Helper()
		h.serves("1")
		if got, want := h.Status(), (Status{PID: pid, Failure: failure}); got != want {
			t.Errorf("Status() = %+v %s, want %+v", got, when, want)
		}
	}
	check("after a failed build")
	h.build(1) // air may ask twice
	h.Run(h.command)
	h.prints()
	check("after air has run the last good build again")
	h.write(bad)
	h.build(1)
	h.prints(told...)
	check("after another save")

	// Taken back: the program that serves is the right one again.
	h.write(version("1", ""))
	h.build(0)
	h.prints(`no reload: same program, pid \d+ keeps serving` + edited)
	if got, want := h.Status(), (Status{PID: pid}); h.serves("1") != pid || got != want {
		t.Errorf("Status() = %+v, want %+v", got, want)
	}
}

func TestFailedStart(t *testing.T) {
	t.Parallel()
	h := start(t)
	pid := h.serving()
	h.write(version("2", "panic"))
	h.build(0) // the build is good
	const reason = "the new build ended before it was ready (exit status 2)"
	if got := h.printed.lines()[h.seen:]; len(got) < 2 || !strings.HasPrefix(got[0], reason+": the last good build (pid "+strconv.Itoa(pid)+") keeps serving") ||
		!slices.Contains(got, "  panic: broken at start") {
		t.Errorf("the loop printed\n%s\nwant %s, and its last words", strings.Join(got, "\n"), reason)
	}
	h.seen = len(h.printed.lines())
	h.Run(h.command) // air runs what it was told to
	h.prints()
	h.serves("1")
	if got, want := h.Status(), (Status{PID: pid, Failure: reason}); got != want {
		t.Errorf("Status() = %+v, want %+v", got, want)
	}
}

// TestBroken is about failures that are neither the compiler's nor the server's.
func TestBroken(t *testing.T) {
	t.Parallel()
	h := start(t)
	if err := os.WriteFile(filepath.Join(h.Dir, "tmp"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	h.build(1)
	h.prints(`reload failed: make the output's directory: .*: nothing serves yet; requests wait for the next good build`)
	h.Run(supervisor.Command{Path: filepath.Join(h.Dir, "missing"), Dir: h.Dir})
	h.prints(`reload failed: .*/missing was removed: .*: nothing serves yet; requests wait for the next good build`)
	if err := os.Remove(filepath.Join(h.Dir, "tmp")); err != nil {
		t.Fatal(err)
	}
}

func TestCloseDuringBuild(t *testing.T) {
	t.Parallel()
	testkit.NeedProc(t)
	h := start(t)
	pid := h.serving()
	h.write(version("2", ""))
	gate := testkit.NewGate(t)
	code := h.background(gate.Arg())
	tool, _ := gate.Hold()
	below := testkit.Children(tool)
	if len(below) != 1 {
		t.Fatalf("the tool has the children %v, want one", below)
	}
	h.Close()
	if got := testkit.Within(t, "the end of Build", code); got == 0 {
		t.Error("Build() = 0 when the loop was closed, want a failure")
	}
	testkit.Eventually(t, "the end of the build and its child", func() bool {
		return testkit.Gone(tool) && testkit.Gone(below[0].PID)
	})
	if h.serves("1") != pid {
		t.Errorf("another process than %d serves after Close", pid)
	}
	h.build(1) // refused
	h.Run(h.command)
	h.prints()
	if got, want := h.Status(), (Status{PID: pid}); got != want {
		t.Errorf("Status() = %+v after Close, want %+v", got, want)
	}
	h.Close() // again
	h.close()
	if !testkit.Gone(pid) {
		t.Errorf("process %d lives on", pid)
	}
}
