// Package badinput tests what a developer reads when something is in the way of
// "make dev": one clear line and a failure, or the loop goes on, never a hang.
package badinput

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/loop"
)

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }

// prepare returns a loop that is not started.
func prepare(t *testing.T, kind loop.Kind, env ...string) *loop.Loop {
	t.Helper()
	return loop.ForTest(within(t, time.Minute), t, cleaner, kind, env...)
}

// fails runs a target and checks that it ends soon with a failure whose line
// matches.
func fails(t *testing.T, l *loop.Loop, target, want string) {
	t.Helper()
	code, out, err := l.Make(within(t, 2*time.Minute), target)
	if err != nil || code == 0 || !regexp.MustCompile("(?m)"+want).MatchString(out) {
		t.Errorf("make %s: exit code %d, %v, printed\n%swant a failure and a line that matches %q", target, code, err, out, want)
	}
	if left := command.Outliving(l.Checkout.Run); len(left) > 0 {
		t.Errorf("make %s leaves %v", target, left)
	}
}

// bin makes a directory of programs for PATH: all that are here but those left
// out, and the given scripts.
func bin(t *testing.T, without []string, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue
		}
		for _, e := range entries {
			_ = os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())) // the first one wins, as in PATH
		}
	}
	for _, name := range without {
		_ = os.Remove(filepath.Join(dir, name)) // it may not be here
	}
	for name, text := range scripts {
		_ = os.Remove(filepath.Join(dir, name))
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + dir
}

// TestPortTaken: with containers the port is checked before minutes of work. For
// "make dev-host", TestNoEngine has a checkout that is built already.
func TestPortTaken(t *testing.T) {
	engine.Need(t)
	t.Parallel()
	l := prepare(t, loop.Container)
	for _, target := range []string{"dev", "up"} {
		t.Run(target, func(t *testing.T) { portTaken(t, l, target) })
	}
}

// portTaken: another program has the port of the platform.
func portTaken(t *testing.T, l *loop.Loop, target string) {
	taken, err := net.Listen("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	fails(t, l, target, fmt.Sprintf(`: port %d is taken: stop the program that listens there, or change PLATFORM_PORT in \.env$`, l.Port))
}

// noEngine is what a target that needs an engine prints where there is none.
const noEngine = "no Docker engine answers"

// TestNoEngine: on a machine without an engine the loop runs on the machine itself,
// and says so. The subtests then get in the way of this loop.
func TestNoEngine(t *testing.T) {
	t.Parallel()
	l := prepare(t, loop.Host, bin(t, []string{"docker"}, nil))
	if err := l.Launch("dev"); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 5*time.Minute)
	for _, want := range []*regexp.Regexp{
		regexp.MustCompile(`^` + noEngine + `: running the loop on this machine, with an embedded database`), loop.Serving,
	} {
		if _, err := l.Process.Out.Wait(ctx, 0, want); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Edit(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("targets", func(t *testing.T) {
		for _, target := range []string{"up", "down", "logs"} {
			code, out, err := l.Make(ctx, target)
			if err != nil || code == 0 || !strings.Contains(out, noEngine) {
				t.Errorf("make %s: exit code %d, %v, printed %q, want a failure with %q", target, code, err, out, noEngine)
			}
		}
	})
	t.Run("an engine that does not answer", func(t *testing.T) { silentEngine(t, ctx, l) })
	t.Run("loops", func(t *testing.T) { twoLoops(t, ctx, l) })
	t.Run("checkouts", func(t *testing.T) { twoCheckouts(t, ctx, l) })
	if _, err := l.Interrupt(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("port", func(t *testing.T) { portTaken(t, l, "dev-host") })
}

// silentEngine: an engine that does not answer is none: "make dev" goes on to the
// loop on this machine, which is there already.
func silentEngine(t *testing.T, ctx context.Context, l *loop.Loop) {
	options := command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run, Env: []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}}
	for target, want := range map[string]string{
		"dev":  `(?s)^` + noEngine + `: running the loop on this machine, with an embedded database.*a loop runs in ` + regexp.QuoteMeta(l.Checkout.Dir) + ` already`,
		"up":   noEngine,
		"down": noEngine,
		"logs": noEngine,
	} {
		code, out, err := command.Run(ctx, options, "make", target)
		if err != nil || code == 0 || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("make %s: exit code %d, %v, printed\n%swant a failure and a match of %q", target, code, err, out, want)
		}
	}
}

// twoLoops: a second loop in the same checkout is refused, and the first one does
// not notice.
func twoLoops(t *testing.T, ctx context.Context, l *loop.Loop) {
	code, out, err := l.Make(ctx, "dev-host")
	if err != nil || code == 0 || !strings.Contains(out, "a loop runs in "+l.Checkout.Dir+" already") {
		t.Errorf("make dev-host, again: exit code %d, %v, printed\n%swant it refused, since a loop runs already", code, err, out)
	}
	if _, err := l.Edit(ctx); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// twoCheckouts have nothing in common: neither the project's name nor, while
// both run, a port.
func twoCheckouts(t *testing.T, ctx context.Context, one *loop.Loop) {
	two := prepare(t, loop.Host)
	if one.Project == two.Project {
		t.Errorf("two checkouts have the project name %s", one.Project)
	}
	// Without a setting for its port the second one takes a free one.
	if err := two.Checkout.Write(".env", "", checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	if code, out, err := two.Make(ctx, "env"); err != nil || code != 0 {
		t.Fatalf("make env: exit code %d, %v: %s", code, err, out)
	}
	env, err := two.Checkout.Env()
	if err != nil {
		t.Fatal(err)
	}
	if port, err := strconv.Atoi(env["PLATFORM_PORT"]); err != nil || port == one.Port {
		t.Errorf("the second checkout's port is %q, want one that is not taken as %d is", env["PLATFORM_PORT"], one.Port)
	}
}

// TestMissing: missing requirements are named.
func TestMissing(t *testing.T) {
	t.Parallel()
	const permission = `permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock`
	tests := []struct {
		name    string
		without []string
		scripts map[string]string
		target  string
		want    string
	}{
		{"neither engine nor Go", []string{"docker", "go"}, nil, "dev", `^dev: neither a Docker engine nor Go is here: install`},
		{"no Go on the host", []string{"go"}, nil, "dev-host", `^dev-host: .*Go.* install`},
		{"no permission", nil, map[string]string{"docker": "echo '" + permission + "' >&2; exit 1"}, "dev", `^dev: you may not use Docker: add yourself to its group`},
		{"no compose", nil, map[string]string{"docker": `[ "$1" = version ] && echo 28.0.0 && exit; echo "docker: 'compose' is not a docker command." >&2; exit 1`}, "dev", `^dev: this Docker has no compose: install`},
		{"no Go for the benchmark", []string{"go"}, nil, "bench", `^bench: .*needs Go`},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			fails(t, prepare(t, loop.Host, bin(t, tt.without, tt.scripts)), tt.target, tt.want)
		})
	}
}

// TestJunk: a .env that makes no sense is refused before anything is done.
func TestJunk(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"no assignment", "what is this\n", `\.env:1: this line is not NAME=value`},
		{"binary", "\x00\x01\x02\xff\n", `\.env`},
		{"port", "PLATFORM_PORT=eighty\n", `\.env:1: PLATFORM_PORT must be a port`},
		{"port out of range", "UID=1000\nPLATFORM_PORT=70000\n", `\.env:2: PLATFORM_PORT must be a port`},
		{"command", "COMPOSE_PROJECT_NAME=$(touch planted)\n", `\.env:1: COMPOSE_PROJECT_NAME takes`},
		{"Windows", "UID=1000\r\n", `\.env:1: this line ends as on Windows`},
	}
	l := prepare(t, loop.Host)
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			if err := l.Checkout.Write(".env", tt.text, checkout.InPlace); err != nil {
				t.Fatal(err)
			}
			fails(t, l, "dev-host", tt.want)
			if got, err := l.Checkout.Read(".env"); err != nil || got != tt.text {
				t.Errorf("the .env was changed to %q, %v, want it left for its owner to mend", got, err)
			}
			if _, err := os.Stat(l.Checkout.Path("planted")); err == nil {
				t.Error("the .env was executed")
			}
		})
	}
}
