package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"devloop/internal/testkit"
)

// terminal opens a new pseudoterminal (pts(4)).
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	var number, unlocked uint32
	control := func(request uintptr, value *uint32) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(os.NewSyscallError("ioctl", errno))
		}
	}
	control(syscall.TIOCSPTLCK, &unlocked)
	control(syscall.TIOCGPTN, &number)
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// TestHangup: when no one can see the loop any longer, it ends in order.
func TestHangup(t *testing.T) {
	testkit.NeedProc(t)
	server := testkit.Server(t, "1")
	// A signal that is ignored here, as under nohup(1), would be there, too (execve(2)).
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangup) })
	const up = "devloop up -listen 127.0.0.1:0 -- sh -c 'exec devloop run ./server'"
	ends := func(c *exec.Cmd, out *os.File) { out.Close() }
	tests := []struct {
		name   string
		script string
		pipe   bool // not a terminal
		end    func(loop *exec.Cmd, out *os.File)
		lives  bool
	}{
		{name: "the terminal is closed", script: "exec " + up, end: ends},
		{name: "the terminal of a shell is closed", script: up + "; echo the end", end: ends},
		{name: "the terminal of a job in the background is closed", script: "set -m; " + up + " & set +m; wait", end: ends},
		{name: "SIGHUP twice", script: "exec " + up, end: func(c *exec.Cmd, _ *os.File) {
			_ = c.Process.Signal(syscall.SIGHUP)
			_ = c.Process.Signal(syscall.SIGHUP)
		}},
		{name: "no one reads", script: "exec " + up, pipe: true, end: ends},
		{name: "nohup", script: "trap '' HUP; exec " + up, end: ends, lives: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir, runtime := t.TempDir(), testkit.ShortDir(t)
			if err := os.Link(server, filepath.Join(dir, "server")); err != nil { // a loop's own, which it keeps versions of
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", test.script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+runtime, "GORACE=atexit_sleep_ms=0")
			var ours, theirs *os.File
			if test.pipe {
				var err error
				if ours, theirs, err = os.Pipe(); err != nil {
					t.Fatal(err)
				}
				defer ours.Close()
			} else {
				ours, theirs = terminal(t)
				cmd.Stdin = theirs
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			}
			cmd.Stdout, cmd.Stderr = theirs, theirs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			t.Cleanup(func() { // if the loop does not end
				for _, pid := range processesIn(t, dir) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			})
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			lines := bufio.NewScanner(ours)
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "serving  ") {
			}
			if err := lines.Err(); err != nil {
				t.Fatal(err)
			}
			pids := loops(t, dir)
			if len(pids) != 1 {
				t.Fatalf("%d loops run, want 1; the last line was %q", len(pids), lines.Text())
			}
			test.end(cmd, ours)
			if test.lives {
				time.Sleep(2 * time.Second) // longer than a look at the terminal takes
				if got := loops(t, dir); len(got) != 1 {
					t.Errorf("%d loops run after the end of the terminal, want 1", len(got))
				}
				if err := syscall.Kill(pids[0], syscall.SIGTERM); err != nil {
					t.Error(err)
				}
			}
			testkit.Eventually(t, "the end of the loop and of all that it started", func() bool {
				return len(processesIn(t, dir)) == 0
			})
			<-ended
			if left, err := os.ReadDir(runtime); err != nil || len(left) > 0 {
				t.Errorf("left in the runtime directory: %v, %v, want nothing: the loop did not end in order", left, err)
			}
		})
	}
}

// processesIn returns the processes that work in dir.
func processesIn(t *testing.T, dir string) []int {
	t.Helper()
	var pids []int
	for _, p := range testkit.Processes() {
		if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID)); err == nil && cwd == dir {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// loops returns those that are a "devloop up".
func loops(t *testing.T, dir string) []int {
	t.Helper()
	var pids []int
	for _, pid := range processesIn(t, dir) {
		args, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cmdline"))
		if err == nil && strings.HasPrefix(string(args), "devloop\x00up\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestClientGone answers a client that has gone away, which is no hangup.
func TestClientGone(t *testing.T) {
	ctx, stop := untilHangup(t.Context())
	defer stop()
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGPIPE)
	defer signal.Stop(arrived)
	for range 10 {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		client, server := os.NewFile(uintptr(pair[0]), "client"), os.NewFile(uintptr(pair[1]), "server")
		client.Close()
		if _, err := server.Write([]byte("answer")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write() to a client that is gone = %v, want %v", err, syscall.EPIPE)
		}
		server.Close()
		testkit.Within(t, "SIGPIPE", arrived)
	}
	if err := ctx.Err(); err != nil {
		t.Errorf("the context ended: %v, want it to go on", err)
	}
}
