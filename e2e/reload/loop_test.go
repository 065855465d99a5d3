package reload

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/load"
	"e2e/harness/loop"
	"e2e/harness/stats"
	"e2e/harness/terminal"
)

// A scenario happens in a loop that serves an edit, is at rest, and has no
// debugger. It may leave files changed: settle puts them back.
type scenario struct {
	name string
	only loop.Kind // empty: wherever the loop runs
	run  func(*testing.T, *loop.Loop)
}

// The same program reloads and debugs on the host and in the container. What
// depends on it alone is proven once, on the host, where looking at processes is
// cheap. Both places have what depends on the place: its database, its files, its
// processes and its ports.
var scenarios = []scenario{
	{"edits under load", "", editsUnderLoad},
	{"failed reloads", "", failedReloads},
	{"exit soon after ready", loop.Host, exitAfterReady},
	{"exit instead of draining", loop.Host, exitInsteadOfDraining},
	{"burst of saves", loop.Host, burst},
	{"200 files at once", loop.Host, manyFiles},
	{"go.mod and go.sum", loop.Host, moduleFiles},
	{"new nested directory", "", nestedDirectory},
	{"rename and delete", loop.Host, renameAndDelete},
	{"edits that change nothing", loop.Host, nothingChanged},
	{"tests are not part of the program", loop.Host, testFiles},
	{"embedded file", "", embedded},
	{"migrations are not reloaded", loop.Host, migration},
	{"templates are live", "", template},
	{"commands of the README", loop.Container, readme},
	{"air is killed", "", killAir},
	{"the server is killed", "", killServer},
	{"unreadable source file", "", unreadable},
	{"full disk", loop.Container, fullDisk},
	{"files written through the mount", loop.Container, ownership},
	{"what a shell in the container finds", loop.Container, insideContainer},

	{"one debug session over many edits", "", debuggedEdits},
	{"an editor that ignores that it should configure again", loop.Host, ignores},
	{"a reload while stopped", loop.Host, reloadWhileStopped},
	{"a broken build while stopped", loop.Host, brokenWhileStopped},
	{"the editor's connection is cut", loop.Host, cut},
	{"the restart button", loop.Host, restartButton},
	{"line numbers", loop.Host, lineNumbers},
	{"dlv connect", "", dlvConnect},
	{"attach and detach", loop.Host, attachAndDetach},
	{"capabilities", loop.Container, capabilities},
}

// few is how many edits a place gets that has not the full proof.
const few = 5

// many returns n in the place that has the full proof, and a few elsewhere.
func many(n int, full bool) int {
	if full {
		return n
	}
	return min(n, few)
}

// Not beside TestContainer: the load of one would slow down the builds of the other.
func TestHost(t *testing.T) {
	run(t, loop.Host)
}

func TestContainer(t *testing.T) {
	engine.Need(t)
	run(t, loop.Container)
}

// run goes through the life of a loop: from a clean clone to nothing left.
func run(t *testing.T, kind loop.Kind) {
	ctx := within(t, 28*time.Minute)
	l := loop.ForTest(ctx, t, cleaner, kind)
	began := time.Now()
	if err := l.Start(ctx); err != nil {
		t.Fatalf("start from a clean clone: %v", err)
	}
	t.Logf("report: %s: from a clean clone to serving in %s", kind, stats.Seconds(time.Since(began)))
	checkStarted(t, l)
	for _, s := range scenarios {
		if s.only != "" && s.only != kind {
			continue
		}
		ok := t.Run(strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
			from := l.Process.Out.End()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("meanwhile the loop printed:\n%s", terminal.Format(l.Process.Out.Since(from)))
				}
			})
			s.run(t, l)
		})
		if err := settle(ctx, l); err != nil {
			t.Fatalf("the loop does not recover from %q (passed: %v): %v", s.name, ok, err)
		}
	}
	if kind == loop.Container {
		t.Run("stop", func(t *testing.T) { stopContainer(t, l) })
	} else {
		t.Run("stop", func(t *testing.T) { stopHost(t, l) })
	}
}

// settle waits for the end of every debugger, puts files back and makes an edit,
// which proves that the loop goes on.
func settle(ctx context.Context, l *loop.Loop) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		left, err := l.Processes(ctx, "dlv")
		if err != nil {
			return err
		}
		if len(left) == 0 {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("dlv runs on as %v: %w", left, context.Cause(ctx))
		}
	}
	if _, err := l.Ready(ctx); err != nil {
		return err
	}
	if _, err := l.Checkout.Restore(); err != nil {
		return err
	}
	if _, err := l.Edit(ctx); err != nil {
		return err
	}
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if s.Failure != "" {
		return fmt.Errorf("devloop status has a failure after a good edit: %s", s.Failure)
	}
	return nil
}

// checkStarted checks what the loop says at the start.
func checkStarted(t *testing.T, l *loop.Loop) {
	t.Helper()
	ctx := within(t, time.Minute)
	line, err := l.Process.Out.Wait(ctx, 0, loop.Serving)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("http://127.0.0.1:%d", l.Port); !strings.Contains(line.Text, want) {
		t.Errorf("the first line is %q, want %s in it", line.Text, want)
	}
	ready, err := l.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[loop.Kind]string{loop.Host: "sqlite", loop.Container: "postgres"}[l.Kind]
	if ready.Database.Driver != want || ready.Build == "" || ready.PID == 0 {
		t.Errorf("GET /readyz = %+v, want database %s, a build and a pid", ready, want)
	}
	state, err := l.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if state.PID != ready.PID || state.Reloads != 0 || state.Failure != "" {
		t.Errorf("devloop status = %+v, want pid %d, no reloads, no failure", state, ready.PID)
	}
}

// underLoad runs fn while the platform is under full load, and fails the test
// for each request that was lost.
func underLoad(t *testing.T, l *loop.Loop, fn func(*load.Load)) load.Report {
	t.Helper()
	running, err := l.Load(t.Context(), load.Options{Version: loop.Version})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			running.Stop() // fn gave up
		}
	}()
	fn(running)
	stopped = true
	report := running.Stop()
	const most = 20
	for i, f := range report.Failures {
		if i == most {
			t.Errorf("... and %d more", len(report.Failures)-most)
			break
		}
		t.Errorf("lost: %s\n  the loop at that time:\n%s", f, terminal.Format(l.Process.Out.Around(f.At, time.Second)))
	}
	if report.Total() == 0 {
		t.Error("the load made no request")
	}
	return report
}

// edit makes an edit and waits until it serves.
func edit(t *testing.T, l *loop.Loop) loop.Edited {
	t.Helper()
	e, err := l.Edit(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func editsUnderLoad(t *testing.T, l *loop.Loop) {
	n := many(*edits, l.Kind == loop.Container)
	var took, told []time.Duration
	report := underLoad(t, l, func(running *load.Load) {
		for range n {
			e := edit(t, l)
			running.Serving(e.N)
			took = append(took, e.Took)
			told = append(told, e.Told)
			if want := loop.Health; !strings.HasSuffix(e.Line.Text, want) {
				t.Errorf("edit %d: printed %q, want it to name %s", e.N, e.Line.Text, want)
			}
		}
	})
	if report.Events < report.Created || report.Streams < 2*n {
		t.Errorf("%s; want at least %d events, and 2 streams for each edit", report, report.Created)
	}
	t.Logf("report: %s: edit to serving: %v; according to the loop: %v", l.Kind, stats.Of(took), stats.Of(told))
	t.Logf("report: %s: meanwhile: %s", l.Kind, report)
}

// stopHost: Ctrl-C ends it cleanly.
func stopHost(t *testing.T, l *loop.Loop) {
	ctx := within(t, 3*time.Minute)
	began := time.Now()
	if _, err := l.Interrupt(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("report: %s: Ctrl-C to the end in %s", l.Kind, stats.Seconds(time.Since(began)))
	nothingRuns(t, l)
	began = time.Now()
	if err := l.Start(ctx); err != nil {
		t.Fatalf("start again: %v", err)
	}
	t.Logf("report: %s: second start in %s", l.Kind, stats.Seconds(time.Since(began)))
	edit(t, l)
	// Now from outside, as a process manager does.
	state, err := l.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(state.Loop, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Process.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	nothingRuns(t, l)
}

// nothingRuns checks that no process is left and nothing listens.
func nothingRuns(t *testing.T, l *loop.Loop) {
	t.Helper()
	if left := command.Outliving(l.Checkout.Run); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
	if conn, err := net.Dial("tcp", l.Addr()); err == nil {
		conn.Close()
		t.Errorf("something still listens on %s", l.Addr())
	}
}

// stopContainer: "docker stop", "make down", and what stays for the next time.
func stopContainer(t *testing.T, l *loop.Loop) {
	ctx := within(t, 5*time.Minute)
	id, err := l.ContainerID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// With a request that never ends, as the stream of an editor.
	running, err := l.Load(ctx, load.Options{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := engine.Docker(ctx, "stop", id); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	go running.Stop() // no request succeeds now
	out, err := engine.Docker(ctx, "inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}} {{.Config.StopTimeout}}", id)
	if err != nil {
		t.Fatal(err)
	}
	var code, grace int
	var oom bool
	if _, err := fmt.Sscan(out, &code, &oom, &grace); err != nil {
		t.Fatalf("docker inspect: %q: %v", out, err)
	}
	if code != 0 || took > time.Duration(grace)*time.Second {
		t.Errorf("docker stop took %s and left exit code %d, want 0 within %ds", took, code, grace)
	}
	t.Logf("report: %s: docker stop in %s, exit code %d", l.Kind, stats.Seconds(took), code)
	if _, err := l.Process.Wait(ctx); err != nil {
		t.Errorf("make dev goes on although its container ended: %v", err)
	}
	down(t, l)

	began = time.Now()
	if err := l.Start(ctx); err != nil {
		t.Fatalf("start again: %v", err)
	}
	took = time.Since(began)
	first := edit(t, l)
	t.Logf("report: %s: second start in %s, its first edit in %s", l.Kind, stats.Seconds(took), stats.Seconds(first.Took))
	const seconds = 60
	if took > seconds*time.Second {
		t.Errorf("the second start took %s, want seconds", took)
	}
	began = time.Now()
	if _, err := l.Interrupt(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("report: %s: Ctrl-C to the end in %s", l.Kind, stats.Seconds(time.Since(began)))
	down(t, l)
}

// down runs "make down" and checks what it leaves: the data and the caches.
func down(t *testing.T, l *loop.Loop) {
	t.Helper()
	ctx := within(t, time.Minute)
	if code, out, err := l.Make(ctx, "down"); err != nil || code != 0 {
		t.Fatalf("make down: exit code %d, %v: %s", code, err, out)
	}
	nothingRuns(t, l)
	left, err := engine.Of(ctx, l.Project, "container", "network")
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("make down leaves %v", left)
	}
	kept, err := engine.Of(ctx, l.Project, "volume")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dev-database", "go", "go-build"} {
		if want := "volume " + l.Project + "_" + name; !strings.Contains(strings.Join(kept, "\n"), want) {
			t.Errorf("make down keeps %v, want %s among them", kept, want)
		}
	}
}
