// Package template tests that what "devloop init" writes for another module works: a
// dev container whose loop reloads a server that knows nothing of it.
package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/engine"
	"e2e/harness/janitor"
)

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

// source is a server as many begin.
const source = `package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
)

func main() {
	addr := flag.String("addr", ":8080", "where to listen")
	flag.Parse()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello 1") })
	log.Fatal(http.ListenAndServe(*addr, nil))
}
`

// run runs a command that must succeed.
func run(ctx context.Context, t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// get returns what the server answers.
func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// TestContainer takes the loop to another module, and edits it. No request may fail.
func TestContainer(t *testing.T) {
	engine.Need(t)
	ctx := janitor.Within(t, 15*time.Minute)
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := checkout.Ports(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	devloop := filepath.Join(t.TempDir(), "devloop")
	run(ctx, t, filepath.Join(root, "devloop"), []string{"CGO_ENABLED=0"}, "go", "build", "-buildvcs=false", "-o", devloop, "./cmd/devloop")
	main := filepath.Join(dir, "main.go")
	for path, text := range map[string]string{main: source, filepath.Join(dir, "go.mod"): "module example.com/hello\n\ngo 1.26\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(ctx, t, dir, nil, devloop, "init", "-container")

	project := fmt.Sprintf("template-%d", os.Getpid())
	if err := cleaner.Add(janitor.Project(project)); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"COMPOSE_PROJECT_NAME=" + project, "BUILDX_NO_DEFAULT_ATTESTATIONS=1",
		fmt.Sprintf("SERVER_PORT=%d", ports[0]), fmt.Sprintf("DEBUG_PORT=%d", ports[1]),
		fmt.Sprintf("UID=%d", os.Getuid()), fmt.Sprintf("GID=%d", os.Getgid()),
	}
	compose := func(args ...string) string {
		t.Helper()
		return run(ctx, t, dir, env, append([]string{"docker", "compose", "-f", "docker-compose.dev.yml"}, args...)...)
	}
	compose("up", "--build", "--detach", "--wait")
	url := fmt.Sprintf("http://127.0.0.1:%d/", ports[0])
	if text, err := get(url); err != nil || text != "hello 1" {
		t.Fatalf("the server answers %q, %v, want hello 1; the loop says:\n%s", text, err, compose("logs"))
	}

	if err := os.WriteFile(main, []byte(strings.Replace(source, "hello 1", "hello 2", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	for requests := 1; ; requests++ {
		text, err := get(url)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("request %d after the edit: %q, %v; the loop says:\n%s", requests, text, err, compose("logs"))
		}
		if text == "hello 2" {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	http.DefaultClient.CloseIdleConnections()
	compose("down", "--volumes", "--timeout", "30")
}
