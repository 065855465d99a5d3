package loop

import (
	"os"
	"strconv"
	"testing"

	"devloop/internal/testkit"
)

// TestNewestWins overtakes builds before they link.
func TestNewestWins(t *testing.T) {
	t.Parallel()
	testkit.NeedProc(t)
	h := start(t)
	first := h.serving()
	var codes []<-chan int
	var killed []int
	for _, v := range []string{"2", "3"} {
		h.write(version(v, ""))
		gate := testkit.NewGate(t)
		codes = append(codes, h.background(gate.Arg()))
		tool, _ := gate.Hold()
		if got, want := h.Status(), (Status{PID: first, Building: true}); got != want {
			t.Errorf("Status() = %+v while version %s is built, want %+v", got, v, want)
		}
		below := testkit.Children(tool)
		if len(below) != 1 {
			t.Fatalf("the tool has the children %v, want one", below)
		}
		for _, pid := range killed {
			testkit.Eventually(t, "the end of a superseded build", func() bool { return testkit.Gone(pid) })
		}
		killed = append(killed, tool, below[0].PID)
	}
	h.serves("1")
	h.write(version("4", ""))
	h.build(0)
	for _, pid := range killed {
		testkit.Eventually(t, "the end of the superseded builds", func() bool { return testkit.Gone(pid) })
	}
	for i, code := range codes {
		if got := testkit.Within(t, "the end of a superseded Build", code); got != 0 {
			t.Errorf("superseded Build %d = %d, want 0 as the newest", i, got)
		}
	}
	h.prints(reloaded + edited)
	if got, want := h.Status(), (Status{PID: h.serves("4"), Reloads: 1}); got != want {
		t.Errorf("Status() = %+v, want %+v", got, want)
	}
}

// TestSupersededByFailure: those who wait for a build get the newest one's code.
func TestSupersededByFailure(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.serving()
	h.write(version("2", ""))
	gate := testkit.NewGate(t)
	code := h.background(gate.Arg())
	gate.Hold()
	h.write(bad)
	h.build(1)
	if got := testkit.Within(t, "the end of the superseded Build", code); got != 1 {
		t.Errorf("superseded Build = %d, want 1 as the newest", got)
	}
	h.serves("1")
}

// TestSupersededStart overtakes a build that does not become ready.
func TestSupersededStart(t *testing.T) {
	t.Parallel()
	testkit.NeedProc(t)
	h := start(t)
	old := h.serving()
	h.write(version("2", "never-ready"))
	code := h.background()
	var pid int
	testkit.Eventually(t, "the start of version 2", func() bool {
		for _, p := range testkit.Children(os.Getpid()) {
			if p.Args[0] == h.command.Path && p.PID != old {
				pid = p.PID
			}
		}
		return pid != 0
	})
	h.write(version("3", ""))
	h.build(0)
	if got := testkit.Within(t, "the end of the superseded Build", code); got != 0 {
		t.Errorf("superseded Build = %d, want 0 as the newest", got)
	}
	if !testkit.Gone(pid) {
		t.Errorf("the process that was not ready, %d, lives on", pid)
	}
	h.prints(reloaded + edited)
	h.serves("3")
}

// TestRunDuringBuild: air's entrypoint does not disturb a running build.
func TestRunDuringBuild(t *testing.T) {
	t.Parallel()
	h := start(t)
	gate := testkit.NewGate(t)
	code := h.background(gate.Arg())
	_, open := gate.Hold()
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		h.Run(h.command)
	}()
	testkit.Eventually(t, "the command to be known", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.run != nil
	})
	open()
	if got := testkit.Within(t, "the end of Build", code); got != 0 {
		t.Errorf("Build() = %d, want 0", got)
	}
	testkit.Within(t, "the end of Run", ran)
	h.prints(`serving  here  \(pid \d+\)`)
	h.serves("1")
}

// TestBurst saves faster than anything can be built.
func TestBurst(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.serving()
	const last = 8
	var codes []<-chan int
	for v := 2; v <= last; v++ {
		text := version(strconv.Itoa(v), "")
		if v%3 == 0 && v != last {
			text = bad
		}
		h.write(text)
		before := h.builds()
		codes = append(codes, h.background())
		testkit.Eventually(t, "the build to be asked for", func() bool { return h.builds() != before })
		if v%4 == 0 {
			h.Run(h.command)
		}
	}
	for i, code := range codes {
		if got := testkit.Within(t, "the end of a Build", code); got < 0 || got > 1 {
			t.Errorf("Build %d = %d, want 0 or 1", i, got)
		}
	}
	pid := h.serves(strconv.Itoa(last))
	if got := h.Status(); got.PID != pid || got.Building || got.Failure != "" {
		t.Errorf("Status() = %+v, want pid %d and no more", got, pid)
	}
}

// builds returns how many builds were asked for. Not each has a cycle of its own: the
// previous one may have begun after the edit.
func (l *Loop) builds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

func (l *Loop) latest() *cycle {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cycle
}
