// Package scripts_test runs the shell scripts behind make with each POSIX shell
// that is here, on a PATH that has the standard utilities and nothing else. What
// they call besides, such as docker, is a stand-in that the test writes.
package scripts_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// utilities are what a script may count on, on every Unix.
var utilities = strings.Fields(`awk basename cat chmod chown cksum cmp cp cut dirname grep head id ls mkdir mktemp
	mv od rm sed sh sleep sort tail tr true uname xargs`)

// shells gives the command line of each shell to test with. They differ in
// what they allow beyond POSIX; macOS has an old bash as sh, Debian dash.
var shells = map[string][]string{
	"dash":    {"dash"},
	"bash":    {"bash", "--posix"},
	"busybox": {"busybox", "sh"},
}

// A repo is a directory with the scripts and the files they look at.
type repo struct {
	t     *testing.T
	dir   string
	bin   string // the only directory on PATH
	shell []string
}

// eachShell runs a test with a new repo for each shell that is here.
func eachShell(t *testing.T, test func(t *testing.T, r *repo)) {
	for name, command := range shells {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(command[0])
			if err != nil {
				t.Skipf("%s is not installed", command[0])
			}
			t.Parallel()
			test(t, newRepo(t, append([]string{path}, command[1:]...)))
		})
	}
}

func newRepo(t *testing.T, shell []string) *repo {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &repo{t: t, dir: filepath.Join(dir, "repo"), bin: filepath.Join(dir, "bin"), shell: shell}
	r.mkdir(r.bin)
	r.mkdir(r.dir)
	for _, name := range utilities {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(r.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.copyTree("../../scripts", "scripts")
	for _, name := range []string{"docker-compose.yml", "workspace-server/Dockerfile.dev"} {
		content, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		r.write(name, string(content))
	}
	for _, module := range goModules {
		r.write(module+"/go.mod", "module "+module+"\n\ngo 1.26\n")
	}
	r.command("ss", "") // nothing listens, unless a test says so
	return r
}

func (r *repo) mkdir(path string) {
	r.t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) copyTree(from, to string) {
	r.t.Helper()
	syscall.ForkLock.RLock() // as for a command
	defer syscall.ForkLock.RUnlock()
	if err := os.CopyFS(filepath.Join(r.dir, to), os.DirFS(from)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	r.mkdir(filepath.Dir(filepath.Join(r.dir, name)))
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) read(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

// setting returns what .env gives to a name.
func (r *repo) setting(name string) string {
	r.t.Helper()
	for line := range strings.Lines(r.read(".env")) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	r.t.Fatalf(".env does not give %s:\n%s", name, r.read(".env"))
	return ""
}

// command puts a program on PATH that runs these lines of shell.
func (r *repo) command(name, lines string) {
	r.t.Helper()
	r.program(filepath.Join(r.bin, name), lines)
}

// program makes a program that runs these lines of shell.
func (r *repo) program(path, lines string) {
	r.t.Helper()
	r.mkdir(filepath.Dir(path))
	content := "#!" + filepath.Join(r.bin, "sh") + "\n" + lines + "\n"
	// A program that another test starts meanwhile would inherit the file open
	// for writing, and this one could not be run (execve(2), ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // a utility is a link to the real one
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// busy has the ports look as if something listened there.
func (r *repo) busy(ports ...string) {
	lines := `case $2 in` + "\n"
	for _, port := range ports {
		lines += "*:" + port + ") echo LISTEN ;;\n"
	}
	r.command("ss", lines+"esac")
}

// run runs a script of the repo and returns what it printed, standard output
// and error together, and its exit code. Variables are NAME=value.
func (r *repo) run(script string, variables ...string) (string, int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.shell[0], append(r.shell[1:], "scripts/"+script)...)
	cmd.Dir = r.dir
	cmd.Env = append([]string{"PATH=" + r.bin, "HOME=" + r.dir}, variables...)
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("%s: %v", script, err)
	}
	return strings.ReplaceAll(out.String(), r.dir, "REPO"), cmd.ProcessState.ExitCode()
}

// signalled runs a script and, once it has printed the text, sends it a signal, unless
// that is 0. It returns what run does.
func (r *repo) signalled(script string, signal syscall.Signal, text string, args ...string) (string, int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.shell[0], slices.Concat(r.shell[1:], []string{"scripts/" + script}, args)...)
	cmd.Dir = r.dir
	cmd.Env = []string{"PATH=" + r.bin, "HOME=" + r.dir}
	cmd.WaitDelay = 10 * time.Second
	read, write, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	defer read.Close()
	if err := read.SetReadDeadline(time.Now().Add(time.Minute)); err != nil { // something may live on
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	write.Close()
	var out strings.Builder
	for buffer := make([]byte, 4096); ; {
		n, err := read.Read(buffer)
		out.Write(buffer[:n])
		if err != nil {
			break
		}
		if signal != 0 && strings.Contains(out.String(), text) {
			if err := cmd.Process.Signal(signal); err != nil {
				r.t.Error(err)
			}
			signal = 0
		}
	}
	_ = cmd.Wait() // the exit code tells
	return strings.ReplaceAll(out.String(), r.dir, "REPO"), cmd.ProcessState.ExitCode()
}

// want runs a script and fails the test unless it does just this.
func (r *repo) want(script, output string, code int, variables ...string) {
	r.t.Helper()
	got, exit := r.run(script, variables...)
	if got != output || exit != code {
		r.t.Errorf("scripts/%s: exit %d\n%s\nwant exit %d\n%s", script, exit, got, code, output)
	}
}
