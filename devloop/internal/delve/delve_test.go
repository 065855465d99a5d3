package delve

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devloop/internal/process"
	"devloop/internal/relay"
	"devloop/internal/testkit"
)

// TestMain runs the tests, or a dlv that connects and then does not care.
func TestMain(m *testing.M) {
	if os.Getenv("HELPER") == "stubborn" {
		stubborn()
	}
	testkit.Main(m)
}

func stubborn() {
	for _, arg := range os.Args {
		if path, ok := strings.CutPrefix(arg, "--client-addr=unix:"); ok {
			if _, err := net.Dial("unix", path); err != nil {
				panic(err)
			}
		}
		if path, ok := strings.CutPrefix(arg, "--listen=unix:"); ok {
			if _, err := net.Listen("unix", path); err != nil {
				panic(err)
			}
		}
	}
	time.Sleep(time.Hour)
}

// launcher returns one of this dlv, whose end leaves nothing.
func launcher(t *testing.T, program string) *Launcher {
	t.Helper()
	testkit.NeedProc(t)
	l := &Launcher{Starter: process.NewStarter(), Program: program, Dir: testkit.ShortDir(t), limits: &limits{time.Minute, time.Minute}}
	t.Cleanup(func() {
		if left := testkit.Children(os.Getpid()); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		files, err := os.ReadDir(l.Dir)
		if err != nil || len(files) > 0 {
			t.Errorf("left in the sockets' directory: %v, %v", files, err)
		}
		l.Starter.Close()
	})
	return l
}

// script returns a program of these lines of shell.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dlv")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// starts are both ways to start dlv; the process to attach to must live.
var starts = map[string]func(context.Context, *Launcher) (relay.Debugger, error){
	"DAP":    func(ctx context.Context, l *Launcher) (relay.Debugger, error) { return l.DAP(ctx) },
	"Attach": func(ctx context.Context, l *Launcher) (relay.Debugger, error) { return l.Attach(ctx, os.Getpid()) },
}

func TestStartFails(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	short := &limits{patience: 50 * time.Millisecond}
	tests := []struct {
		name    string
		ctx     context.Context
		program string
		limits  *limits
		want    string
	}{
		{"missing", t.Context(), "no-such-dlv", nil, "no-such-dlv, the debugger, was not found: install github.com/go-delve/delve/cmd/dlv"},
		{"missing file", t.Context(), "/nowhere/dlv", nil, "/nowhere/dlv, the debugger, was not found"},
		{"ends with a message", t.Context(), script(t, "echo first; echo 'cannot do that' >&2; exit 1"), nil, "dlv ended: cannot do that"},
		{"ends without a word", t.Context(), script(t, "exit 3"), nil, "dlv ended: exit status 3"},
		{"never connects", t.Context(), script(t, "exec sleep 1000"), short, "start dlv: it did not connect within 50ms"},
		{"never connects, says something", t.Context(), script(t, "echo x; exec sleep 1000"), short, "start dlv: it did not connect within 50ms"},
		{"not wanted any more", canceled, script(t, "exec sleep 1000"), nil, "start dlv: context canceled"},
	}
	for _, tt := range tests {
		for name, start := range starts {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				l := launcher(t, tt.program)
				if tt.limits != nil {
					l.limits = tt.limits
				}
				d, err := start(tt.ctx, l)
				if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("%s() with %s = %v, %v, want the error %q", name, tt.program, d, err, tt.want)
				}
			})
		}
	}
}

// TestEnd ends dlv, or what has no intention to.
func TestEnd(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	obstinate := script(t, fmt.Sprintf("HELPER=stubborn exec '%s' \"$@\"", self))
	real := testkit.Delve(t)
	ends := map[string]func(relay.Debugger){"End": relay.Debugger.End, "Kill": relay.Debugger.Kill}
	kinds := map[string]string{real: "dlv", obstinate: "obstinate"}
	for program := range kinds {
		for name, start := range starts {
			for endName, end := range ends {
				t.Run(kinds[program]+"/"+name+"/"+endName, func(t *testing.T) {
					l := launcher(t, program)
					if program == obstinate {
						l.limits.grace = 10 * time.Millisecond
					}
					if program == real && name == "Attach" {
						start = attachToSleeper(t)
					}
					d, err := start(t.Context(), l)
					if err != nil {
						t.Fatal(err)
					}
					if n := len(delves()); n != 1 {
						t.Errorf("%d debuggers run, want 1", n)
					}
					end(d)
					if left := delves(); len(left) > 0 {
						t.Errorf("after %s: %v, want none", endName, left)
					}
					if _, err := d.Read(make([]byte, 1)); err == nil {
						t.Error("the connection still gives something")
					}
				})
			}
		}
	}
}

// attachToSleeper attaches to its own process, which dlv may stop.
func attachToSleeper(t *testing.T) func(context.Context, *Launcher) (relay.Debugger, error) {
	cmd := exec.Command(testkit.Server(t, "sleeper"))
	cmd.Env = append(os.Environ(), "BEHAVIOUR=sleep")
	said := &testkit.Buffer{}
	cmd.Stdout = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sleeper := cmd.Process
	t.Cleanup(func() {
		if testkit.Gone(sleeper.Pid) {
			t.Error("the process that was attached to has ended")
		}
		_ = sleeper.Kill()
		_ = cmd.Wait()
	})
	testkit.Eventually(t, "the start of the process to attach to", func() bool { return said.String() != "" })
	return func(ctx context.Context, l *Launcher) (relay.Debugger, error) {
		d, err := l.Attach(ctx, sleeper.Pid)
		if err != nil {
			return nil, err
		}
		// A dlv that was never asked for anything does not notice that it is left.
		fmt.Fprintln(d, `{"id":1,"method":"RPCServer.SetApiVersion","params":[{"APIVersion":2}]}`)
		if answer, err := bufio.NewReader(d).ReadString('\n'); err != nil || !strings.Contains(answer, `"error":null`) {
			t.Errorf("SetApiVersion is answered by %q, %v", answer, err)
		}
		return d, nil
	}
}

// delves lists the children that are none of a test's own.
func delves() []testkit.Proc {
	var out []testkit.Proc
	for _, p := range testkit.Children(os.Getpid()) {
		if strings.Contains(strings.Join(p.Args, " "), "unix:") {
			out = append(out, p)
		}
	}
	return out
}

func TestTail(t *testing.T) {
	tests := []struct {
		writes []string
		want   string
	}{
		{nil, ""},
		{[]string{"\n \n"}, ""},
		{[]string{"one"}, "one"},
		{[]string{"one\ntw", "o\n"}, "two"},
		{[]string{"one\n", strings.Repeat("x", 2*maxTail)}, strings.Repeat("x", maxTail)},
	}
	for _, tt := range tests {
		var out tail
		for _, w := range tt.writes {
			if n, err := out.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("Write(%.20q) = %d, %v, want %d", w, n, err, len(w))
			}
		}
		if got := out.lastLine(); got != tt.want {
			t.Errorf("the last line of %.40q is %.40q, want %.40q", tt.writes, got, tt.want)
		}
	}
}
