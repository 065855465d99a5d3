// Package testkit is what the tests of several packages share: small real
// programs, load on a server, and a look at what a test left behind.
package testkit

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for something that happens unasked. It is long
// enough to build the standard library on a busy machine, since it passes only
// when a test fails.
const patience = 3 * time.Minute

// Main runs a package's tests and fails if they leave goroutines or child
// processes behind. A TestMain consists of it.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain that has more to do; it returns the exit code.
func Run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "devloop-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs.dir = dir
	code := m.Run()
	if code == 0 {
		if left := leftovers(); left != "" {
			fmt.Fprintf(os.Stderr, "left behind by the tests of this package:\n%s\n", left)
			code = 1
		}
	}
	return code
}

func leftovers() string {
	var left string
	poll(func() bool {
		left = goroutines()
		for _, p := range Children(os.Getpid()) {
			left += fmt.Sprintf("process %v\n", p)
		}
		return left == ""
	}, patience)
	return left
}

// goroutines returns the stacks of those that are not the test's own.
func goroutines() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found [][]byte
	for i, stack := range bytes.Split(buf, []byte("\n\n")) {
		// The first is the one that asks.
		if i == 0 || bytes.Contains(stack, []byte("os/signal.signal_recv")) || bytes.Contains(stack, []byte("os/signal.loop")) {
			continue
		}
		found = append(found, stack)
	}
	return string(bytes.Join(found, []byte("\n\n")))
}

// Eventually waits until ok, and fails the test when it does not come.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll(ok, patience) {
		t.Fatalf("waited %v for: %s", patience, what)
	}
}

// Within waits for a channel that is closed or sent to.
func Within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for: %s", patience, what)
		panic("unreachable")
	}
}

func poll(ok func() bool, most time.Duration) bool {
	for deadline := time.Now().Add(most); ; time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// ShortDir returns a private directory whose path is short enough for sockets
// (unix(7)), which testing.TB.TempDir's is not always.
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "dl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

//go:embed testdata/server/*.go
var serverFiles embed.FS

// WriteServer writes the module of the server program, which needs nothing but
// the standard library, to dir.
func WriteServer(t testing.TB, dir string) {
	t.Helper()
	if err := writeServer(dir); err != nil {
		t.Fatal(err)
	}
}

func writeServer(dir string) error {
	entries, err := serverFiles.ReadDir("testdata/server")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		data, err := serverFiles.ReadFile("testdata/server/" + e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module server\n\ngo 1.26\n"), 0o644)
}

// GoEnv is an environment for the go command that never asks the network.
func GoEnv() []string {
	return append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0")
}

var programs struct {
	dir   string
	mu    sync.Mutex
	built map[string]string
	delve string
}

// Server returns the server program, built once for each version.
func Server(t testing.TB, version string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if path := programs.built[version]; path != "" {
		return path
	}
	src := filepath.Join(programs.dir, "src")
	if err := writeServer(src); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(programs.dir, "server-"+version)
	cmd := exec.Command("go", "build", "-ldflags=-s -w -X main.version="+version, "-o", path, ".")
	cmd.Dir, cmd.Env = src, GoEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the server program: %v\n%s", err, out)
	}
	if programs.built == nil {
		programs.built = make(map[string]string)
	}
	programs.built[version] = path
	return path
}

// A Proc is a process as the kernel shows it.
type Proc struct {
	PID, PPID, Group int
	State            string
	Args             []string
}

// Processes lists those that run; zombies are left out, being gone but for
// whoever has to wait for them. Where there is no /proc, it lists none.
func Processes() []Proc { return list(Proc.runs) }

// Children lists the running and the unreaped children of a process.
func Children(parent int) []Proc {
	return list(func(p Proc) bool { return p.PPID == parent })
}

// Gone reports whether no process of that number runs any more.
func Gone(pid int) bool {
	p, ok := lookUp(pid)
	return !ok || !p.runs()
}

func (p Proc) runs() bool { return p.State != "Z" && p.State != "X" }

func list(wanted func(Proc) bool) []Proc {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var out []Proc
	for _, e := range entries {
		pid, err := strconv.Atoi(filepath.Base(e))
		if err != nil {
			continue
		}
		if p, ok := lookUp(pid); ok && wanted(p) {
			out = append(out, p)
		}
	}
	return out
}

func lookUp(pid int) (Proc, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Proc{}, false
	}
	// pid (name) state ppid group …; the name may contain anything.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	f := strings.Fields(rest)
	if len(f) < 3 {
		return Proc{}, false
	}
	p := Proc{PID: pid, State: f[0]}
	p.PPID, _ = strconv.Atoi(f[1])
	p.Group, _ = strconv.Atoi(f[2])
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	p.Args = strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")
	return p, true
}

// NeedProc skips a test that looks at processes where that is not possible.
func NeedProc(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's /proc to see processes")
	}
}

// FDs returns what this process's descriptors are open on, but for those of
// the runtime's own poller.
func FDs(t testing.TB) map[string]string {
	t.Helper()
	NeedProc(t)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			out[e.Name()] = to
		}
	}
	return out
}

// WaitFile waits until a file is there and returns its contents.
func WaitFile(t testing.TB, path string) string {
	t.Helper()
	var data []byte
	Eventually(t, "file "+path, func() bool {
		var err error
		data, err = os.ReadFile(path)
		return err == nil
	})
	return string(data)
}
