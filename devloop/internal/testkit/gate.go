package testkit

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// gateScript stands between the go command and its tools. The linker waits, as
// every build that compiles comes to it, and says who waits: a process that the
// go command started, and that has its own child.
const gateScript = `#!/bin/sh
case "$*" in *-V=full*) exec "$@" ;; esac
case "$1" in
*/link)
	echo $$ >"$0.pid"
	cat "$0.fifo"
	;;
esac
exec "$@"
`

// A Gate holds a real build before it links.
type Gate struct {
	t    testing.TB
	path string
}

// NewGate returns a gate for one build.
func NewGate(t testing.TB) *Gate {
	t.Helper()
	g := &Gate{t, filepath.Join(t.TempDir(), "gate")}
	// A program cannot be run while a process has it open for writing, and one
	// that is forked meanwhile would, until it runs another program.
	syscall.ForkLock.RLock()
	err := os.WriteFile(g.path, []byte(gateScript), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(g.path+".fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

// Arg is the argument for "go build".
func (g *Gate) Arg() string { return "-toolexec=" + g.path }

// Hold waits until the build is at the gate. It returns the process that the
// go command waits for, and what lets it go on.
func (g *Gate) Hold() (pid int, open func()) {
	g.t.Helper()
	var w *os.File
	Eventually(g.t, "a build at the gate", func() bool {
		var err error // ENXIO while no one reads
		w, err = os.OpenFile(g.path+".fifo", os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	g.t.Cleanup(func() { w.Close() })
	pid, err := strconv.Atoi(strings.TrimSpace(WaitFile(g.t, g.path+".pid")))
	if err != nil {
		g.t.Fatal(err)
	}
	return pid, func() { w.Close() }
}
