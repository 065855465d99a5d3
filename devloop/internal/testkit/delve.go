package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Delve returns the pinned dlv (devloop/tools.mod), built once for each package.
func Delve(t testing.TB) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	path := filepath.Join(programs.dir, "dlv")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	list := exec.Command("go", "env", "GOMOD")
	mod, err := list.Output()
	if err != nil {
		t.Fatalf("find this module: %v", err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-modfile=tools.mod", "-o", path, "github.com/go-delve/delve/cmd/dlv")
	cmd.Dir = filepath.Dir(string(mod))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build dlv: %v\n%s", err, out)
	}
	return path
}

// Build builds the module in dir for debugging, as .air.toml has it, and
// returns the binary.
func Build(t testing.TB, dir, output string) string {
	t.Helper()
	cmd := exec.Command("go", "build", "-gcflags=server/...=-N -l", "-o", output, ".")
	cmd.Dir, cmd.Env = dir, GoEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	return output
}
