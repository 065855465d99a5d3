package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"devloop/internal/control"
	"devloop/internal/testkit"
)

// TestMain runs the tests, or devloop itself: the scripts run this binary
// under that name.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"devloop": main})
}

type suite struct{ m *testing.M }

func (s suite) Run() int { return testkit.Run(s.m) }

// TestScripts types what a user types.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "eventually": eventually, "signal": send, "answers": answers, "nothing-left": nothingLeft,
		},
	})
}

// tb is the key of a script's testing.TB among its values.
type tb struct{}

func setup(env *testscript.Env) error {
	t := env.T().(testing.TB)
	env.Values[tb{}] = t
	for _, name := range []string{"HOME", "GOCACHE", "GOPATH", "GOMODCACHE"} { // where the go command keeps things
		if value := os.Getenv(name); value != "" {
			env.Setenv(name, value)
		}
	}
	env.Vars = append(env.Vars, "GOFLAGS=-buildvcs=false", "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0")
	env.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each command, otherwise
	env.Setenv("XDG_RUNTIME_DIR", testkit.ShortDir(t))
	module, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	env.Setenv("DEVLOOP", module)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	env.Defer(func() { taken.Close() })
	env.Setenv("TAKEN", taken.Addr().String())
	testkit.WriteServer(t, filepath.Join(env.WorkDir, "server"))
	return nil
}

func checkUsage(ts *testscript.TestScript, usage string, wrong bool) {
	if wrong {
		ts.Fatalf("usage: %s", usage)
	}
}

// exits runs a program that must end with an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, "exits CODE PROGRAM [ARGUMENT...]", neg || len(args) < 2)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%q ended with exit code %d, want %d", args[1:], got, want)
	}
}

// eventually runs a program again and again until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, "eventually PROGRAM [ARGUMENT...]", neg || len(args) < 1)
	testkit.Eventually(ts.Value(tb{}).(testing.TB), strings.Join(args, " "), func() bool {
		return ts.Exec(args[0], args[1:]...) == nil
	})
}

// send sends a signal to the programs in the background.
func send(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt}
	checkUsage(ts, "signal TERM|INT", neg || len(args) != 1 || signals[args[0]] == nil)
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}

// answers checks which version of the server program answers at the loop's
// first address, and that it is the process that the loop names.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, "answers VERSION", neg || len(args) != 1)
	cmd := exec.Command("devloop", "status")
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "GORACE="+ts.Getenv("GORACE"), "XDG_RUNTIME_DIR="+ts.Getenv("XDG_RUNTIME_DIR"))
	out, err := cmd.Output()
	ts.Check(err)
	var state control.State
	ts.Check(json.Unmarshal(out, &state))
	got, err := testkit.Ask(state.Listen[0])
	ts.Check(err)
	if want := (testkit.Answer{PID: state.PID, Version: args[0]}); got != want {
		ts.Fatalf("%+v answers, want %+v", got, want)
	}
}

// nothingLeft looks for processes of the script, by their working directory,
// and for what a loop keeps while it runs.
func nothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, "nothing-left", neg || len(args) > 0)
	work := ts.Getenv("WORK")
	testkit.Eventually(ts.Value(tb{}).(testing.TB), "the end of all that the script started", func() bool {
		for _, p := range testkit.Processes() {
			dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID))
			if err == nil && (dir == work || strings.HasPrefix(dir, work+"/")) {
				return false
			}
		}
		return true
	})
	left, err := os.ReadDir(ts.Getenv("XDG_RUNTIME_DIR"))
	ts.Check(err)
	if len(left) > 0 {
		ts.Fatalf("left in the runtime directory: %v", left)
	}
	for _, pattern := range []string{".build-*", ".devloop"} {
		left, err := filepath.Glob(filepath.Join(work, "server", "tmp", pattern))
		ts.Check(err)
		if len(left) > 0 {
			ts.Fatalf("left beside the binary: %q", left)
		}
	}
}
