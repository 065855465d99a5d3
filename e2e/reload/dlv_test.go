package reload

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/editor"
	"e2e/harness/loop"
	"e2e/harness/terminal"
)

// A console is "dlv connect" in a terminal, with a person who types.
type console struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out terminal.Log
}

func connect(t *testing.T, l *loop.Loop) *console {
	t.Helper()
	args := []string{l.Checkout.Path(".tools/bin/dlv"), "connect", l.DebugAddr()}
	if l.Kind == loop.Container {
		id, err := l.ContainerID(within(t, step))
		if err != nil {
			t.Fatal(err)
		}
		args = []string{"docker", "exec", "-i", id, "dlv", "connect", "127.0.0.1:2345"}
	}
	c := &console{t: t, cmd: exec.Command(args[0], args[1:]...)}
	c.cmd.Env = command.Environment("E2E_RUN=" + l.Checkout.Run)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() }) // it has ended, if all went well
	return c
}

// types types a line, and waits for a line that answers it, unless answer is empty.
func (c *console) types(line, answer string) {
	c.t.Helper()
	from := c.out.End()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
	if answer != "" {
		c.shows(from, answer)
	}
}

func (c *console) shows(from terminal.Place, pattern string) {
	c.t.Helper()
	if _, err := c.out.Wait(within(c.t, step), from, regexp.MustCompile(pattern)); err != nil {
		c.t.Fatal(err)
	}
}

// dlvConnect: Delve's own client, which speaks its own protocol, stays
// connected over a reload, with its breakpoint.
func dlvConnect(t *testing.T, l *loop.Loop) {
	_, line := source(t, l, 0, 0)
	const stop = `getReady\(\) .*ready\.go:\d+`
	c := connect(t, l)
	c.types(fmt.Sprintf("break %s/%s:%d", l.Root(), debugged, line), `Breakpoint 1 set at .*getReady`)
	from := c.out.End()
	c.types("continue", "")
	held := ask(t, l)
	c.shows(from, stop)
	c.types("print r.Method", `"GET"`)
	from = c.out.End()
	c.types("continue", "")
	answered(t, held)

	text, _ := source(t, l, 1, 0)
	printed := l.Process.Out.End()
	if err := l.Checkout.Write(debugged, text, checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Process.Out.Wait(within(t, step), printed, moved); err != nil {
		t.Fatal(err)
	}
	held = ask(t, l)
	c.shows(from, stop) // the same "continue" that waited before the reload
	c.types("print readyTimeout", `3600000000000`)
	before, err := l.Status(within(t, step))
	if err != nil {
		t.Fatal(err)
	}
	c.types("quit", "")
	c.types("y", "") // kill the process, which is not the client's
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("dlv connect ended with %v; printed were:\n%s", err, terminal.Format(c.out.Since(0)))
	}
	answered(t, held)
	if after, err := l.Status(within(t, step)); err != nil || after.PID != before.PID {
		t.Errorf("pid %d serves after quit, %v, want %d as before", after.PID, err, before.PID)
	}
}

// usage is what a process holds.
type usage struct {
	descriptors int
	resident    int // KiB
	tasks       int
}

func usageOf(t *testing.T, l *loop.Loop, pid int) usage {
	t.Helper()
	read := func(script string) string {
		var out string
		var err error
		if l.Kind == loop.Container {
			out, err = l.Exec(within(t, step), "sh", "-c", script)
		} else {
			var b []byte
			b, err = exec.Command("sh", "-c", script).Output()
			out = string(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var u usage
	text := read(fmt.Sprintf("ls /proc/%d/fd | wc -l; sed -n 's/^VmRSS:[[:space:]]*\\([0-9]*\\) kB$/\\1/p; s/^Threads:\t//p' /proc/%d/status", pid, pid))
	if _, err := fmt.Sscan(text, &u.descriptors, &u.resident, &u.tasks); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return u
}

// attachAndDetach: many sessions leave nothing, neither in the loop nor in the
// server.
func attachAndDetach(t *testing.T, l *loop.Loop) {
	_, line := source(t, l, 0, 0)
	session := func() {
		e := attach(t, l, editor.Reconfigures)
		hit(t, l, e, line)
		if err := e.Disconnect(within(t, step)); err != nil {
			t.Fatal(err)
		}
	}
	n := *sessions
	for range 3 {
		session()
	}
	state, err := l.Status(within(t, step))
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{state.Loop, state.PID}
	var before, after [2]usage
	for i, pid := range pids {
		before[i] = usageOf(t, l, pid)
	}
	for range n {
		session()
	}
	ctx := within(t, step)
	for i, pid := range pids {
		most := before[i].descriptors
		if pid == state.PID {
			// Its pool of connections grows by what happens to be asked of the
			// database at once, but not with each session.
			const pool = 16
			most += min(n/2, pool)
		}
		// The last dlv may be about to end.
		for after[i] = usageOf(t, l, pid); after[i].descriptors > most; after[i] = usageOf(t, l, pid) {
			pause(t, ctx, fmt.Sprintf("process %d to hold %d descriptors, now %d", pid, most, after[i].descriptors))
		}
		const allowance = 8 << 10 // KiB: a heap grows in steps, but not with each session
		if grown := after[i].resident - before[i].resident; grown > allowance {
			t.Errorf("process %d grew by %d KiB over %d sessions: %+v, before that %+v", pid, grown, n, after[i], before[i])
		}
	}
	t.Logf("report: %s: %d sessions: loop %+v, before that %+v; server %+v, before that %+v", l.Kind, n, after[0], before[0], after[1], before[1])
	if now, err := l.Status(within(t, step)); err != nil || now.PID != state.PID || now.Loop != state.Loop {
		t.Errorf("status after %d sessions = %+v, %v, want the same processes as in %+v", n, now, err, state)
	}
}

// capabilities: dlv has what Yama asks for, nothing else has, and the container
// is not privileged.
func capabilities(t *testing.T, l *loop.Loop) {
	const sysPtrace = 1 << 19 // capabilities(7)
	effective := func(pid int) uint64 {
		t.Helper()
		out, err := l.Exec(within(t, step), "sed", "-n", `s/^CapEff:\t//p`, fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		caps, err := strconv.ParseUint(strings.TrimSpace(out), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return caps
	}
	e := attach(t, l, editor.Reconfigures)
	dlvs, err := l.Processes(within(t, step), "dlv")
	if err != nil || len(dlvs) != 1 {
		t.Fatalf("dlv runs as %v, %v, want one process", dlvs, err)
	}
	if got := effective(dlvs[0]); got != sysPtrace {
		t.Errorf("dlv has the capabilities %#x, want %#x", got, sysPtrace)
	}
	state, err := l.Status(within(t, step))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{state.PID, state.Loop} {
		if got := effective(pid); got != 0 {
			t.Errorf("process %d has the capabilities %#x, want none", pid, got)
		}
	}
	if err := e.Disconnect(within(t, step)); err != nil {
		t.Error(err)
	}
	id, err := l.ContainerID(within(t, step))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("docker", "inspect", "--format", "{{.HostConfig.Privileged}} {{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}}", id).Output()
	if got := strings.TrimSpace(string(out)); err != nil || !regexp.MustCompile(`^false \[(CAP_)?SYS_PTRACE\] \[label=disable\]$`).MatchString(got) {
		t.Errorf("docker inspect: privileged, capabilities, security options = %q, %v, want false, SYS_PTRACE alone, no SELinux labels and no more", got, err)
	}
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err != nil {
		t.Log("report: container: this kernel has no Yama: its rule was not tried")
	} else {
		t.Logf("report: container: Yama's ptrace_scope is %s", strings.TrimSpace(string(scope)))
	}
}
