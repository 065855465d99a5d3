package editor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// checkoutWith is a checkout that has what the script below reads.
func checkoutWith(t *testing.T, debugPort int) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{".env": fmt.Sprintf("DEBUG_PORT=%d\n", debugPort)}
	for _, name := range []string{"scripts/common", "scripts/env", "scripts/attach", ".vscode/launch.json"} {
		files[name] = read(t, name)
	}
	write(t, dir, files)
	for name := range files {
		if strings.HasPrefix(name, "scripts/") {
			if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestAttach: before an editor attaches, it hears that the port is another
// checkout's, and what it is going to wait for.
func TestAttach(t *testing.T) {
	tools := t.TempDir() // what the extension needs, and Go's own directory without it
	write(t, tools, map[string]string{"gopls": "#!/bin/sh\n", "dlv": "#!/bin/sh\n"})
	for _, name := range []string{"gopls", "dlv"} {
		if err := os.Chmod(filepath.Join(tools, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bare := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	full := "PATH=" + tools + ":" + strings.TrimPrefix(bare, "PATH=")
	const installs = "(cd devloop && go install -modfile=tools.mod golang.org/x/tools/gopls github.com/go-delve/delve/cmd/dlv)"
	tests := []struct {
		configuration string
		port          int
		env           []string
		fails         bool
		says          string // "" for nothing
	}{
		{"Attach from the host", 2345, []string{full}, false, ""},
		{"Attach from the host", 2345, []string{bare}, false, installs},
		{"Attach from the host", 2346, []string{full}, true, `the debugger of this checkout, DIR, is on port 2346 (DEBUG_PORT in .env), but "Attach from the host" attaches to port 2345`},
		{"Attach to live server", 2346, []string{full}, true, `but "Attach to live server" attaches to port 2345`},
		{"Attach to live server", 2346, []string{full, "DEV_CONTAINER=1"}, false, ""},
		{"Debug this test", 2345, []string{full}, true, `has no "Debug this test" with a port`},
	}
	for _, tt := range tests {
		dir := checkoutWith(t, tt.port)
		cmd := exec.Command(filepath.Join(dir, "scripts/attach"), tt.configuration)
		cmd.Env = append(tt.env, "GOPATH="+t.TempDir(), "HOME="+t.TempDir(), "GOTELEMETRY=off")
		out, err := cmd.CombinedOutput()
		_, failed := errors.AsType[*exec.ExitError](err)
		want := strings.ReplaceAll(tt.says, "DIR", dir)
		if err != nil && !failed || failed != tt.fails || !strings.Contains(string(out), want) || want == "" && len(out) > 0 {
			t.Errorf("scripts/attach %q with DEBUG_PORT=%d and %q: %v\n%swant it to fail: %v, and to say %q",
				tt.configuration, tt.port, tt.env, err, out, tt.fails, want)
		}
	}
	tasks, configs := readTasks(t), readLaunch(t)
	for _, name := range []string{"Attach to live server", "Attach from the host"} {
		before := []task{tasks[configs[name].PreLaunchTask]}
		for _, other := range before[0].DependsOn {
			before = append(before, tasks[other])
		}
		checks := false
		for _, task := range before {
			checks = checks || task.Command == "scripts/attach '"+name+"'"
		}
		if !checks {
			t.Errorf("%s: its preLaunchTask %q does not run scripts/attach for it", name, configs[name].PreLaunchTask)
		}
	}
}

// TestLaunchedServer starts the server as "Launch server under the debugger" does,
// with what it would inherit in the container: it uses neither the database nor the
// state of the live server.
func TestLaunchedServer(t *testing.T) {
	c := readLaunch(t)["Launch server under the debugger"]
	program, folder := filepath.Join(t.TempDir(), "server"), t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", c.BuildFlags, "-o", program, ".")
	build.Dir = resolve(t, c.Program)
	// As in the container, where the loop leaves out SQLite.
	build.Env = append(os.Environ(), "GOFLAGS=-tags=nosqlite", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	live := t.TempDir()
	env := append(os.Environ(), "DATABASE_URL=postgres://platform@127.0.0.1:1/platform", "STATE_DIRECTORY="+live, "WATCH_RELOAD=1")
	for name, value := range c.Env {
		if name == "LISTEN_ADDR" {
			value = "127.0.0.1:0" // this machine may use the port
		}
		env = append(env, name+"="+strings.ReplaceAll(value, "${workspaceFolder}", folder))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, program, c.Args...)
	server.Dir, server.Env = t.TempDir(), append(env, "LOG_LEVEL=debug")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	stderr, err := server.StderrPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	lines, serving := bufio.NewScanner(io.TeeReader(stderr, &log)), ""
	for serving == "" && lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "url="); ok {
			serving = after
		}
	}
	url, rest, _ := strings.Cut(serving, " ")
	if !strings.Contains(rest, "database=sqlite") {
		t.Errorf("the server prints\n%s\nwant it to serve with SQLite (%v)", &log, lines.Err())
	} else if res, err := http.Get(url + "/readyz"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("GET %s/readyz = %v, %v, want OK", url, res, err)
	} else {
		res.Body.Close()
	}
	cancel()
	for lines.Scan() { // to its end
	}
	_ = server.Wait() // the test ended it
	if left, err := os.ReadDir(live); err != nil || len(left) > 0 {
		t.Errorf("the live server's state directory holds %v, %v, want nothing", left, err)
	}
	if _, err := os.Stat(filepath.Join(folder, ".state/launched/secret-keys")); err != nil {
		t.Errorf("the server has no keys of its own: %v", err)
	}
}
