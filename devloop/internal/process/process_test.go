package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// TestMain runs the tests, or one of the programs that they start: this very
// binary, with the program's name in HELPER.
func TestMain(m *testing.M) {
	if name := os.Getenv("HELPER"); name != "" {
		helpers[name]()
		os.Exit(0)
	}
	testkit.Main(m)
}

var helpers = map[string]func(){
	"sleep": func() { time.Sleep(time.Hour) },
	"deaf": func() {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	},
	// A parent with a child, both in one group, which hold the output open.
	"family": func() {
		child := helper("sleep")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		must(child.Start())
		fmt.Println(child.Process.Pid)
		time.Sleep(time.Hour)
	},
	// The same, but the parent leaves at once.
	"orphan-maker": func() {
		child := helper("sleep")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		must(child.Start())
		fmt.Println(child.Process.Pid)
	},
	// A child that has left the group and holds the output open.
	"runaway": func() {
		child := helper("sleep")
		child.Stdout = os.Stdout
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		must(child.Start())
		fmt.Println(child.Process.Pid)
		time.Sleep(time.Hour)
	},
	// A program that uses this package and is killed.
	"starter": func() {
		s := NewStarter()
		for range 3 {
			p, err := s.Start(helper("sleep"), syscall.SIGKILL)
			must(err)
			fmt.Println(p.PID())
		}
		fmt.Println("started")
		time.Sleep(time.Hour)
	},
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func helper(name string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HELPER="+name, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func newStarter(t *testing.T) *Starter {
	s := NewStarter()
	t.Cleanup(s.Close)
	return s
}

// lines collects output.
type lines struct{ testkit.Buffer }

func (l *lines) first(t *testing.T) string {
	t.Helper()
	var line string
	testkit.Eventually(t, "a line of output", func() bool {
		var ok bool
		line, _, ok = strings.Cut(l.String(), "\n")
		return ok
	})
	return line
}

func start(t *testing.T, s *Starter, name string) (*Process, *lines) {
	t.Helper()
	var out lines
	cmd := helper(name)
	cmd.Stdout, cmd.Stderr = &out, &out
	if name != "runaway" { // whose child holds the output open
		cmd.WaitDelay = time.Hour
	}
	p, err := s.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatalf("Start(%s) = %v", name, err)
	}
	t.Cleanup(p.Kill)
	return p, &out
}

func TestKillEndsTheGroup(t *testing.T) {
	testkit.NeedProc(t)
	p, out := start(t, newStarter(t), "family")
	child, err := strconv.Atoi(out.first(t))
	if err != nil {
		t.Fatal(err)
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		p.Kill()
	}()
	testkit.Within(t, "the end of Kill, and of the output that the child held open", killed)
	if !p.Exited() {
		t.Error("Exited() = false after Kill, want true")
	}
	testkit.Eventually(t, "the end of the child's child", func() bool { return testkit.Gone(child) })
	p.Kill() // again, without effect
	if p.Stop(time.Hour) != true {
		t.Error("Stop() = false for a process that is gone, want true")
	}
}

func TestEndOfTheLeaderEndsTheGroup(t *testing.T) {
	testkit.NeedProc(t)
	p, out := start(t, newStarter(t), "orphan-maker")
	testkit.Within(t, "the leader's end", p.Done())
	if !p.State().Success() {
		t.Errorf("State() = %v, want success", p.State())
	}
	child, err := strconv.Atoi(out.first(t))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the end of the leader's child", func() bool { return testkit.Gone(child) })
}

func TestHeldPipeDoesNotHang(t *testing.T) {
	p, out := start(t, newStarter(t), "runaway")
	child, err := strconv.Atoi(out.first(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, "the end, with the output held open", p.Done())
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Errorf("the process that left the group: kill = %v, want it alive", err)
	}
}

func TestStop(t *testing.T) {
	tests := []struct {
		program string
		grace   time.Duration
		want    bool
		state   string
	}{
		{"sleep", time.Hour, true, "signal: terminated"},
		{"deaf", 50 * time.Millisecond, false, "signal: killed"},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			p, out := start(t, newStarter(t), tt.program)
			if tt.program == "deaf" {
				out.first(t)
			}
			if got := p.Stop(tt.grace); got != tt.want || p.State().String() != tt.state {
				t.Errorf("Stop(%v) = %v, %v, want %v, %v", tt.grace, got, p.State(), tt.want, tt.state)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	s := newStarter(t)
	before := testkit.FDs(t)
	for _, path := range []string{filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		cmd := exec.Command(path)
		cmd.Stdout = new(lines)
		p, err := s.Start(cmd, syscall.SIGKILL)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Start(%s) = %v, %v, want an error that names it", path, p, err)
		}
	}
	if after := testkit.FDs(t); len(after) > len(before) {
		t.Errorf("descriptors after failed starts: %v, want %v", after, before)
	}
}

// TestOrphans kills a program that has started children, without warning.
func TestOrphans(t *testing.T) {
	testkit.NeedProc(t)
	cmd := helper("starter")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var children []int
	for in := bufio.NewScanner(stdout); in.Scan() && in.Text() != "started"; {
		pid, err := strconv.Atoi(in.Text())
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, pid)
	}
	for _, pid := range children {
		if testkit.Gone(pid) {
			t.Errorf("child %d ended before its parent", pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(children) != 3 {
		t.Fatalf("the program started %d children, want 3", len(children))
	}
	for _, pid := range children {
		testkit.Eventually(t, fmt.Sprintf("the end of orphan %d", pid), func() bool { return testkit.Gone(pid) })
	}
}

// TestChildrenOutliveThreads starts from goroutines whose threads end, which
// the kernel takes for the end of the parent.
func TestChildrenOutliveThreads(t *testing.T) {
	testkit.NeedProc(t)
	s := newStarter(t)
	var started []*Process
	for range 20 {
		done := make(chan *Process)
		go func() {
			runtime.LockOSThread() // which ends with the goroutine
			p, err := s.Start(helper("sleep"), syscall.SIGKILL)
			if err != nil {
				t.Error(err)
			}
			done <- p
		}()
		if p := <-done; p != nil {
			started = append(started, p)
		}
	}
	last, _ := start(t, s, "orphan-maker")
	testkit.Within(t, "a later process", last.Done())
	for _, p := range started {
		if p.Exited() {
			t.Errorf("process %d: %v, want it alive", p.PID(), p.State())
		}
		p.Kill()
	}
}

// TestNothingLeft starts many processes at once, however they end.
func TestNothingLeft(t *testing.T) {
	before := testkit.FDs(t)
	s := NewStarter()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			var out lines
			cmd := helper([]string{"sleep", "family", "orphan-maker"}[i%3])
			cmd.Stdout, cmd.Stderr = &out, &out
			p, err := s.Start(cmd, syscall.SIGKILL)
			if err != nil {
				t.Error(err)
				return
			}
			if i%2 == 0 {
				p.Kill()
			} else {
				p.Stop(time.Second)
			}
		})
	}
	wg.Wait()
	s.Close()
	for _, p := range testkit.Children(os.Getpid()) {
		t.Errorf("process left: %+v", p)
	}
	if after := testkit.FDs(t); len(after) > len(before) {
		t.Errorf("descriptors left: %v, want %v", after, before)
	}
}
