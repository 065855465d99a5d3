package anyserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/janitor"
	"e2e/harness/terminal"
)

// servers is the module of the small servers and of their client.
const servers = "testdata/servers"

// build compiles a program.
func build(t *testing.T, dir, output, pkg string, flags ...string) {
	t.Helper()
	cgo := "CGO_ENABLED=0"
	if pkg == "./cgo" {
		cgo = "CGO_ENABLED=1"
	}
	args := append([]string{"go", "build", "-buildvcs=false", "-o", output}, flags...)
	o := command.Options{Dir: dir, Env: []string{"GOWORK=off", "GOFLAGS=", cgo}}
	if code, out, err := command.Run(janitor.Within(t, 20*time.Minute), o, append(args, pkg)...); err != nil || code != 0 {
		t.Fatalf("go build %s: exit code %d, %v\n%s", pkg, code, err, out)
	}
}

// A loop is "devloop up" with one of the servers behind it.
type loop struct {
	t       *testing.T
	ctx     context.Context
	c       cell
	devloop string
	options command.Options
	public  []string // addresses that devloop holds
	backend string   // where a server with a fixed address listens
	binary  [2]string
	up, run *command.Process
	runs    int
}

// pace is the time between two questions to the loop.
const pace = 50 * time.Millisecond

// start serves the first of two versions of a server.
func start(t *testing.T, bin string, c cell) *loop {
	t.Helper()
	ports, err := checkout.Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "any") // short: a socket goes there
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{
		t: t, ctx: janitor.Within(t, 20*time.Minute), c: c, devloop: filepath.Join(bin, "devloop"),
		backend: fmt.Sprintf("127.0.0.1:%d", ports[2]),
		options: command.Options{Dir: dir, Run: filepath.Base(dir), Env: []string{"XDG_RUNTIME_DIR=" + dir}},
	}
	for _, thing := range []janitor.Thing{janitor.Directory(dir), janitor.Processes(l.options.Run)} {
		if err := cleaner.Add(thing); err != nil {
			t.Fatal(err)
		}
	}
	for _, port := range ports[:max(c.ports, 1)] {
		l.public = append(l.public, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i := range l.binary {
		l.binary[i] = filepath.Join(dir, fmt.Sprintf("server-%d", i+1))
		flags := fmt.Sprintf("-X servers/program.Version=%d -X main.fixed=", i+1)
		if c.fixed {
			flags += l.backend
		}
		build(t, servers, l.binary[i], "./"+c.server, "-ldflags="+flags)
	}
	args := []string{l.devloop, "up", "-mode", c.mode}
	if c.fixed && c.mode != "auto" {
		args = append(args, "-backend", l.backend)
	}
	for _, flag := range c.up {
		args = append(args, l.fill(flag))
	}
	if !strings.Contains(strings.Join(c.up, " "), "-listen") {
		for _, public := range l.public {
			args = append(args, "-listen", public)
		}
	}
	// What stands in place of air watches nothing: the test says what to run.
	if l.up, err = command.Start(l.options, append(args, "--", "sleep", "86400")...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	for { // no line says that the loop can be asked
		if _, err := l.ask(); err == nil {
			break
		}
		if l.ctx.Err() != nil {
			t.Fatalf("the loop does not start; it printed\n%s", terminal.Format(l.up.Out.Since(0)))
		}
		<-time.After(pace)
	}
	l.swap("^serving  ")
	return l
}

// fill puts addresses into an argument.
func (l *loop) fill(arg string) string {
	return strings.NewReplacer("{public}", l.public[0], "{backend}", l.backend).Replace(arg)
}

// reload replaces the server by its other version, once no more than one of
// those before is busy: the loop keeps a few of them only.
func (l *loop) reload() {
	l.t.Helper()
	for len(l.status().Old) > 1 {
		if l.ctx.Err() != nil {
			l.t.Fatalf("servers that were replaced do not end: %+v; the loop printed\n%s", l.status(), terminal.Format(l.up.Out.Since(0)))
		}
		<-time.After(pace)
	}
	l.swap("^reloaded in ")
}

// swap asks the loop for the other version, and waits for its line.
func (l *loop) swap(line string) {
	l.t.Helper()
	args := []string{l.devloop, "run", l.binary[l.runs%2]}
	for _, arg := range l.c.args {
		args = append(args, l.fill(arg))
	}
	l.runs++
	place, before := l.up.Out.End(), l.run
	var err error
	if l.run, err = command.Start(l.options, args...); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.up.Out.Wait(l.ctx, place, regexp.MustCompile(line)); err != nil {
		l.t.Fatal(err)
	}
	if before != nil { // it ends when the loop is asked again
		if _, err := before.Wait(l.ctx); err != nil {
			l.t.Fatal(err)
		}
	}
}

// A state is what "devloop status" tells, as far as the tests want it.
type state struct {
	Mode    string
	Reloads int
	Old     []struct{ PID, Requests, Streams, Connections int }
}

func (l *loop) status() state {
	l.t.Helper()
	s, err := l.ask()
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *loop) ask() (state, error) {
	code, out, err := command.Run(l.ctx, l.options, l.devloop, "status")
	if err != nil || code != 0 {
		return state{}, fmt.Errorf("devloop status: exit code %d, %v: %s", code, err, out)
	}
	var s state
	return s, json.Unmarshal([]byte(out), &s)
}

// close ends the loop and looks for what it leaves.
func (l *loop) close() {
	l.up.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if code, err := l.up.Wait(ctx); err != nil || code != 0 {
		l.t.Errorf("devloop up ends with exit code %d, %v, want 0; it printed\n%s", code, err, terminal.Format(l.up.Out.Since(0)))
	}
	if left := command.Outliving(l.options.Run); len(left) > 0 {
		l.t.Errorf("left running: %v", left)
	}
	for _, thing := range []janitor.Thing{janitor.Processes(l.options.Run), janitor.Directory(l.options.Dir)} {
		if err := cleaner.Remove(ctx, thing); err != nil {
			l.t.Error(err)
		}
	}
}

// A report is what the client prints.
type report struct {
	Requests, Failed, Rested int
	Failures                 []string
	Versions                 map[string]int
}

// A load is a running client.
type load struct {
	l     *loop
	cmd   *exec.Cmd
	stdin io.Closer
	seen  chan struct{} // gets one for each process that answers
	last  report        // once seen is closed
}

// load starts the 16 clients and waits until one has an answer.
func (l *loop) load(client string) *load {
	l.t.Helper()
	d := &load{l: l, seen: make(chan struct{}, *reloads+1)}
	d.cmd = exec.CommandContext(l.ctx, client, "-kind", l.c.traffic, "-addr", strings.Join(l.public, ","), fmt.Sprintf("-again=%v", l.c.again))
	d.cmd.Stderr = os.Stderr
	stdin, err := d.cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	d.stdin = stdin
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		defer close(d.seen)
		for lines := json.NewDecoder(out); ; {
			var line struct {
				Seen string
				report
			}
			if lines.Decode(&line) != nil {
				return
			}
			if line.Seen == "" {
				d.last = line.report
				continue
			}
			d.seen <- struct{}{}
		}
	}()
	d.await()
	return d
}

// await waits until a process has answered that did not answer before.
func (d *load) await() {
	d.l.t.Helper()
	select {
	case <-d.seen:
	case <-d.l.ctx.Done():
		d.l.t.Fatalf("no client is answered by the new process; the loop printed\n%s", terminal.Format(d.l.up.Out.Since(0)))
	}
}

// stop ends the clients and returns what they saw.
func (d *load) stop() report {
	d.l.t.Helper()
	d.stdin.Close()
	for range d.seen {
	}
	if err := d.cmd.Wait(); err != nil {
		d.l.t.Fatalf("the client: %v", err)
	}
	return d.last
}
