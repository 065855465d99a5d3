package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// start starts a command with Wrap and returns what it printed, and its id.
func start(t *testing.T, cmd *exec.Cmd) (lines []string, pid int) {
	t.Helper()
	l, err := Wrap(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(); err != nil {
		t.Errorf("Wait() = %v, want nil", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %v\n%s", cmd.Args, err, out.String())
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n"), cmd.Process.Pid
}

func TestEnvironment(t *testing.T) {
	before := testkit.FDs(t)
	cmd := exec.Command("/usr/bin/env")
	cmd.Env = []string{"A.DOT=1", "a-dash=2", "X=", "LISTEN_FDS=1"}
	got, pid := start(t, cmd)
	want := append(slices.Clone(cmd.Env), "LISTEN_PID="+strconv.Itoa(pid))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the program's environment is %q, want %q", got, want)
	}
	if after := testkit.FDs(t); len(after) != len(before) {
		t.Errorf("descriptors left: %v, want %v", after, before)
	}
}

// TestProgram looks at what the process is: name, arguments, file, directory and
// descriptors.
func TestProgram(t *testing.T) {
	testkit.NeedProc(t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", `echo "$0 $1"; readlink /proc/$$/exe; pwd; tr '\0' ' ' </proc/$$/cmdline; echo; ls /proc/$$/fd`, "zero", "one two")
	cmd.Args[0] = "my-name"
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{file}
	got, _ := start(t, cmd)
	if len(got) < 4 {
		t.Fatalf("printed %q", got)
	}
	for i, want := range []string{"zero one two", shell, dir} {
		if got[i] != want {
			t.Errorf("line %d is %q, want %q", i, got[i], want)
		}
	}
	if !strings.HasPrefix(got[3], "my-name -c ") {
		t.Errorf("the command line is %q, want it to begin with my-name", got[3])
	}
	if fds := got[4:]; !slices.Contains(fds, "3") || slices.Contains(fds, "4") {
		t.Errorf("descriptors %q, want 3 and not 4", fds)
	}
}

func TestCannotBeRun(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		text:                               "start " + text + ": exec format error",
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
	} {
		cmd := &exec.Cmd{Path: path, Args: []string{path}}
		l, err := Wrap(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Wait() for %s = %v, want %s", path, err, want)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the process ended with success, want a failure")
		}
	}
}
