package loop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/gobuild"
	"devloop/internal/listener"
	"devloop/internal/process"
	"devloop/internal/report"
	"devloop/internal/supervisor"
	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A harness is a loop on the server program's module, and what it printed.
type harness struct {
	t *testing.T
	*Loop
	address string
	command supervisor.Command
	printed *printed
	seen    int // lines that were looked at
	close   func()
}

type printed struct{ testkit.Buffer }

// lines returns the loop's lines, without what servers say at their start, and the
// mode.
func (p *printed) lines() []string {
	var out []string
	for line := range strings.Lines(p.String()) {
		// How far a build is depends on the machine.
		if !strings.HasPrefix(line, "server ") && !strings.HasPrefix(line, "mode ") && !strings.HasPrefix(line, "building for ") {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

// start makes a loop. It is closed when the test ends, and must leave
// nothing behind.
func start(t *testing.T) *harness {
	t.Helper()
	return startIn(t, t.TempDir())
}

// startIn is start with the module in a directory.
func startIn(t *testing.T, dir string) *harness {
	t.Helper()
	sockets, err := listener.Open(t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteServer(t, dir)
	h := &harness{t: t, address: sockets.Addresses()[0], printed: &printed{}}
	h.command = supervisor.Command{Path: filepath.Join(dir, "tmp", "server"), Dir: dir, Env: os.Environ()}
	starter := process.NewStarter()
	printer := report.New(h.printed, dir, dir)
	server := &supervisor.Supervisor{
		Starter: starter, Listeners: sockets.Files(), RunDir: testkit.ShortDir(t),
		ReadyTimeout: time.Minute, DrainTimeout: time.Minute, HandoverTimeout: time.Minute,
		Output: h.printed, Reporter: printer,
	}
	server.Init()
	h.Loop = &Loop{Dir: dir, Announce: "here", Starter: starter, Server: server, Printer: printer}
	h.close = sync.OnceFunc(func() {
		h.Loop.Close()
		server.Close(t.Context())
		sockets.Close()
		starter.Close()
	})
	t.Cleanup(func() {
		h.t.Helper()
		h.close()
		h.left()
		if t.Failed() {
			t.Logf("printed were:\n%s", strings.Join(h.printed.lines(), "\n"))
		}
	})
	return h
}

// left looks for processes and files of a loop that is closed.
func (h *harness) left() {
	h.t.Helper()
	for _, p := range testkit.Processes() {
		if strings.HasPrefix(p.Args[0], h.Dir) {
			h.t.Errorf("process left after Close: %+v", p)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(h.command.Path))
	if err != nil && !os.IsNotExist(err) {
		h.t.Error(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(h.command.Path) {
			h.t.Errorf("left beside the binary after Close: %s", e.Name())
		}
	}
}

// request is a build as air asks for it.
func (h *harness) request(flags ...string) gobuild.Request {
	args := slices.Concat([]string{"-trimpath", "-ldflags=-s -w"}, flags, []string{"-o", "tmp/server", "."})
	return gobuild.Request{Dir: h.Dir, Args: args, Env: testkit.GoEnv()}
}

// build is a Build that must return a code.
func (h *harness) build(want int) {
	h.t.Helper()
	if got := testkit.Within(h.t, "the end of Build", h.background()); got != want {
		h.t.Fatalf("Build() = %d, want %d; printed were:\n%s", got, want, strings.Join(h.printed.lines(), "\n"))
	}
}

// serving builds and runs the program, and returns its process.
func (h *harness) serving() int {
	h.t.Helper()
	h.build(0)
	h.Run(h.command)
	h.prints(`serving  here  \(pid \d+\)`)
	return h.serves("1")
}

// background starts a Build and returns what gets its code.
func (h *harness) background(flags ...string) <-chan int {
	code := make(chan int, 1)
	go func() { code <- h.Build(h.request(flags...)) }()
	return code
}

const versionFile = "version.go"

// version returns the source of a version of the program that does something.
func version(v, behaviour string) string {
	return fmt.Sprintf("package main\n\nvar (\n\tversion   = %q\n\tbehaviour = %q\n)\n", v, behaviour)
}

const bad = "package main\n\nvar version, behaviour = missing, absent\n"

func (h *harness) write(text string) {
	h.t.Helper()
	h.writeTo(versionFile, text)
}

func (h *harness) writeTo(name, text string) {
	h.t.Helper()
	// Renamed into place, so no scan sees half of it.
	fresh := filepath.Join(h.Dir, ".fresh")
	if err := os.WriteFile(fresh, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(h.Dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

// serves checks which version answers, and returns its process.
func (h *harness) serves(version string) int {
	h.t.Helper()
	got := testkit.MustAsk(h.t, h.address)
	if got.Version != version || got.PID != h.Status().PID {
		h.t.Fatalf("version %s, pid %d answers, and Status() = %+v; want version %s", got.Version, got.PID, h.Status(), version)
	}
	return got.PID
}

// prints checks the lines printed since it was called last.
func (h *harness) prints(want ...string) {
	h.t.Helper()
	all := h.printed.lines()
	got := all[h.seen:]
	h.seen = len(all)
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		same = regexp.MustCompile("^" + want[i] + "$").MatchString(got[i])
	}
	if !same {
		h.t.Errorf("the loop printed\n%s\nwant lines that match\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Lines that the loop prints.
const (
	reloaded = `reloaded in [0-9.]+s  \(detect [0-9.]+, build [0-9.]+, start [0-9.]+, swap [0-9.]+\)`
	edited   = `  version\.go`
	servesOn = `the last good build \(pid \d+\) keeps serving`
)
