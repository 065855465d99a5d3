package testkit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Delve returns the pinned dlv (devloop/tools.mod), which the go command builds
// once and keeps in its cache. With -short it skips the test: dlv takes seconds to
// attach.
func Delve(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("debugs with dlv, which -short leaves out")
	}
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if programs.delve != "" {
		return programs.delve
	}
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("find this module: %v", err)
	}
	cmd := exec.Command("go", "tool", "-modfile=tools.mod", "-n", "dlv")
	cmd.Dir = filepath.Dir(string(mod))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	cmd.Stderr = new(strings.Builder)
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("build dlv: %v\n%s", err, cmd.Stderr)
	}
	programs.delve = strings.TrimSpace(string(path))
	return programs.delve
}

// Module returns a directory with the server program's module as WriteServer
// writes it. All tests of a package that do not run at the same time share it:
// a binary that is built for debugging names its sources by their path.
func Module(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(programs.dir, "module")
	WriteServer(t, dir)
	return dir
}

// Build builds the module in dir for debugging, as .air.toml has it. The same
// sources in the same directory are built once.
func Build(t testing.TB, dir, output string) {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	built := filepath.Join(programs.dir, "debug-"+sumOf(t, dir))
	if _, err := os.Stat(built); err != nil {
		cmd := exec.Command("go", "build", "-gcflags=server/...=-N -l", "-ldflags=-compressdwarf=false", "-o", built, ".")
		cmd.Dir, cmd.Env = dir, GoEnv()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", dir, err, out)
		}
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(output); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Link(built, output); err != nil {
		t.Fatal(err)
	}
}

// sumOf identifies the Go files of a directory, and the directory.
func sumOf(t testing.TB, dir string) string {
	t.Helper()
	sum := sha256.New()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8])
}
