package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"workspace-server/internal/store/storetest"
)

// scriptTimeout is how long a script may take with the race detector on a busy
// machine.
const scriptTimeout = 2 * time.Minute

// TestScripts runs what people type, on each kind of database. Each script has a
// server of its own, which is also this program.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
				testscript.Run(t, testscript.Params{
					Files:               []string{file},
					Setup:               func(env *testscript.Env) error { return setup(env, database, file) },
					RequireExplicitExec: true,
					RequireUniqueNames:  true,
					Deadline:            time.Now().Add(scriptTimeout),
					Cmds: map[string]func(*testscript.TestScript, bool, []string){
						"serve": serveScript, "shutdown": stopScript, "crash": crashScript,
						"exits": exits, "keep": keep, "eventually": eventually,
					},
				})
			})
		})
	}
}

// scripted is what a script has in the background.
type scripted struct {
	start func(env ...string) *process
	now   *process
	stops int // how often a server was stopped
}

type scriptedKey struct{}

// setup gives a script an address to serve at, which it keeps when a server
// stops, and a state directory. Both are where a client looks first.
func setup(env *testscript.Env, database storetest.Database, file string) error {
	t := env.T().(testing.TB)
	ln, url := listenLoopback(t)
	s := &scripted{start: func(vars ...string) *process { return start(t, ln, database, vars...) }}
	env.Values[scriptedKey{}] = s
	stops, err := countStops(file)
	if err != nil {
		return err
	}
	env.Defer(func() {
		if !t.Failed() {
			s.checkEnd(t, stops, database.Dir)
		}
	})
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	bin := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(bin, "workspace-server")); err != nil {
		return err
	}
	env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("URL", url)
	env.Setenv("LISTEN_ADDR", ln.Addr().String())
	env.Setenv("STATE_DIRECTORY", database.Dir)
	env.Setenv("DATABASE_URL", database.URL)
	env.Setenv("WORKSPACE_SERVER_TEST_RUN", "1")
	env.Setenv("GOCOVERDIR", t.TempDir())
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	return nil
}

// countStops returns how often a script stops the server, which must be its last
// command.
func countStops(file string) (int, error) {
	script, err := txtar.ParseFile(file)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(string(script.Comment)), "\n")
	if lines[len(lines)-1] != "shutdown" {
		return 0, fmt.Errorf("%s ends with %q, want shutdown", file, lines[len(lines)-1])
	}
	stops := 0
	for _, line := range lines {
		if line == "shutdown" {
			stops++
		}
	}
	return stops, nil
}

// checkEnd fails a script that has ended before its last line, as "stop" and
// "skip" let it, or that has left agents running.
func (s *scripted) checkEnd(t testing.TB, stops int, dir string) {
	if s.stops != stops || s.now != nil {
		t.Errorf("the server was stopped %d times, want %d: the script has not come to its last line", s.stops, stops)
	}
	left, err := filepath.Glob(filepath.Join(dir, "agents", "*", "ws_*"))
	if err != nil || len(left) > 0 {
		t.Errorf("agents are left, in %q, %v: the script must delete their workspaces", left, err)
	}
}

func usage(ts *testscript.TestScript, text string, wrong bool) {
	if wrong {
		ts.Fatalf("usage: %s", text)
	}
}

// serveScript starts a server, and waits until it serves.
func serveScript(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(scriptedKey{}).(*scripted)
	usage(ts, "serve [VARIABLE=VALUE...], once until it is stopped", neg || s.now != nil)
	s.now = s.start(args...)
}

// stopScript stops the server as a service manager does.
func stopScript(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(scriptedKey{}).(*scripted)
	usage(ts, "shutdown, after serve", neg || len(args) > 0 || s.now == nil)
	s.now.stop()
	s.now = nil
	s.stops++
}

// crashScript ends the server as a power cut does.
func crashScript(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(scriptedKey{}).(*scripted)
	usage(ts, "crash, after serve", neg || len(args) > 0 || s.now == nil)
	s.now.signal(syscall.SIGKILL)
	<-s.now.done
	s.now = nil
}

// exits runs a program that must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, "exits CODE PROGRAM [ARGUMENT...]", neg || len(args) < 2)
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

// keep stores in a variable what the last program printed.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, "keep VARIABLE", neg || len(args) != 1)
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if text == "" {
		ts.Fatalf("nothing was printed")
	}
	ts.Setenv(args[0], text)
}

// eventually runs a program again and again until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, "eventually PROGRAM [ARGUMENT...]", neg || len(args) < 1)
	for end := time.Now().Add(scriptTimeout / 2); ts.Exec(args[0], args[1:]...) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%q has not succeeded", args)
		}
	}
}
