// Package command runs programs as a person at a terminal would, keeps what
// they print, and finds the processes that they leave behind.
package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"e2e/harness/terminal"
)

// mark names the variable by which a program's descendants are known, however
// they were started.
const mark = "E2E_RUN"

// A Process is a program that was started in the foreground of a terminal of
// its own: the leader of a process group.
type Process struct {
	Out  *terminal.Log
	cmd  *exec.Cmd
	done chan struct{}
}

// Options say how a program is run.
type Options struct {
	Dir string
	Run string   // what its processes are known by, see Left
	Env []string // in addition to, and in place of, this program's environment
}

// Start starts a program.
func Start(o Options, args ...string) (*Process, error) {
	p := &Process{Out: &terminal.Log{}, done: make(chan struct{})}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = o.Dir
	p.cmd.Env = Environment(append(slices.Clone(o.Env), mark+"="+o.Run)...)
	p.cmd.Stdout, p.cmd.Stderr = p.Out, p.Out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 2 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // ExitCode tells
		p.Out.Close()
		close(p.done)
	}()
	return p, nil
}

// Run runs a program to its end and returns its exit code and what it printed.
func Run(ctx context.Context, o Options, args ...string) (int, string, error) {
	p, err := Start(o, args...)
	if err != nil {
		return 0, "", err
	}
	code, err := p.Wait(ctx)
	if err != nil {
		p.Signal(syscall.SIGKILL)
	}
	return code, p.Text(), err
}

// Text returns everything printed so far, in whole lines; the last one counts
// as whole once the program has ended.
func (p *Process) Text() string {
	var b strings.Builder
	for _, line := range p.Out.Since(0) {
		fmt.Fprintln(&b, line.Text)
	}
	return b.String()
}

// Signal sends a signal to the whole foreground group, as Ctrl-C does.
func (p *Process) Signal(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the program's end and returns its exit code.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s did not end (%w); printed were:\n%s", strings.Join(p.cmd.Args, " "), context.Cause(ctx), terminal.Format(p.Out.Since(0)))
	}
}

// Environment returns this program's environment without what would steer the
// programs under test, with the given variables.
func Environment(set ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "MAKE"), name == "MFLAGS", strings.HasPrefix(name, "COMPOSE_"), strings.HasPrefix(name, "LISTEN_"):
		case slices.Contains([]string{"ENV", "WATCH_RELOAD", "DATABASE_URL", "STATE_DIRECTORY", "XDG_STATE_HOME", "TEMPLATES_DIR", "PLUGINS_DIR", "NOTIFY_SOCKET", "TEST_DATABASE_URL", "REQUIRE_DOCKER", "DEV_CONTAINER", "BUILD_TAGS", mark}, name):
		default:
			env = append(env, v)
		}
	}
	return append(env, set...)
}

// A Left is a process that still runs.
type Left struct {
	PID  int
	Args []string
}

func (l Left) String() string { return fmt.Sprintf("%d %s", l.PID, strings.Join(l.Args, " ")) }

// Is reports whether the process runs a program of this name, with these
// arguments first.
func (l Left) Is(args ...string) bool {
	if len(l.Args) < len(args) || len(l.Args) == 0 || filepath.Base(l.Args[0]) != args[0] {
		return false
	}
	return slices.Equal(l.Args[1:len(args)], args[1:])
}

// Running lists the living processes of a run.
func Running(run string) []Left {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	want := []byte("\x00" + mark + "=" + run + "\x00")
	var left []Left
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, env...), want) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if len(args) == 0 {
			continue // a zombie
		}
		left = append(left, Left{pid, strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")})
	}
	return left
}

// Outliving waits for the processes of a run to end, which the last of them do
// by themselves when those have gone that they work for, and returns those that
// do not.
func Outliving(run string) []Left {
	const patience = 10 * time.Second
	left := Running(run)
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); left = Running(run) {
		time.Sleep(20 * time.Millisecond)
	}
	return left
}

// Kill kills the processes of a run until none is left.
func Kill(run string) {
	for range 100 {
		left := Running(run)
		if len(left) == 0 {
			return
		}
		for _, l := range left {
			_ = syscall.Kill(l.PID, syscall.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond) // a killed process is gone a moment later
	}
}
