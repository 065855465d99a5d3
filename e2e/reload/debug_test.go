package reload

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-dap"

	"e2e/harness/checkout"
	"e2e/harness/editor"
	"e2e/harness/load"
	"e2e/harness/loop"
	"e2e/harness/stats"
)

// The handler of /readyz is debugged, since the load does not ask for it.
const (
	debugged = "workspace-server/internal/api/ready.go"
	here     = "	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)"
)

// step bounds one step of an editor, which takes far less.
const step = time.Minute

var moved = regexp.MustCompile(`^debugger moved to pid (\d+) in ([0-9.]+)s`)

// pause waits a moment before something is looked at again.
func pause(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		t.Fatalf("waited for %s: %v", what, context.Cause(ctx))
	}
}

// source is the debugged file with lines put in above the handler, and a
// constant that makes edit n another program; line is that of the breakpoint.
func source(t *testing.T, l *loop.Loop, n, shift int) (text string, line int) {
	t.Helper()
	text, err := l.Checkout.Original(debugged)
	if err != nil {
		t.Fatal(err)
	}
	const constant, handler = "= 2 * time.Second", "// getReady answers"
	if strings.Count(text, constant) != 1 || strings.Count(text, handler) != 1 || strings.Count(text, here) != 1 {
		t.Fatalf("%s has changed: want %q, %q and %q in it, once each", debugged, constant, handler, here)
	}
	if n > 0 { // long: time passes while the handler is stopped
		text = strings.Replace(text, constant, fmt.Sprintf("= %d * time.Hour", n), 1)
	}
	text = strings.Replace(text, handler, strings.Repeat("// a line more\n\n", shift)+handler, 1)
	before, _, _ := strings.Cut(text, here)
	return text, 1 + strings.Count(before, "\n")
}

// attach begins a session with a breakpoint in the handler, as it is.
func attach(t *testing.T, l *loop.Loop, style editor.Style) *editor.Editor {
	t.Helper()
	ctx := within(t, step)
	e, err := editor.Connect(ctx, l.DebugAddr(), style)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // it may be closed already
	_, line := source(t, l, 0, 0)
	if err := e.Attach(ctx, l.Checkout.Dir, l.Root(), l.Checkout.Path(debugged), line); err != nil {
		t.Fatalf("attach: %v", err)
	}
	return e
}

// reload saves the debugged file and waits until it serves and is debugged. It
// returns when it served.
func reload(t *testing.T, l *loop.Loop, e *editor.Editor, n, shift int) (line int, served time.Time) {
	t.Helper()
	text, line := source(t, l, n, shift)
	e.Break(l.Checkout.Path(debugged), line) // as the editor shows it from now on
	from, set := l.Process.Out.End(), e.Count(isSet)
	if err := l.Checkout.Write(debugged, text, checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	told, err := l.Process.Out.Wait(within(t, step), from, loop.Reloaded)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Process.Out.Wait(within(t, step), from, moved); err != nil {
		t.Fatal(err)
	}
	// The loop does not wait for a slow editor: it goes on with the breakpoint
	// as it was, and the editor's comes after that.
	ctx := within(t, step)
	for e.Style == editor.Reconfigures && e.Count(isSet) == set {
		pause(t, ctx, "the breakpoint to be set again")
	}
	return line, told.At
}

// isSet tells the answer to an editor that sends its breakpoint.
func isSet(m dap.Message) bool {
	r, ok := m.(*dap.SetBreakpointsResponse)
	return ok && r.Success
}

// A visit is a request to the handler, which may be held at the breakpoint.
type visit struct {
	status int
	err    error
}

func ask(t *testing.T, l *loop.Loop) <-chan visit {
	c := make(chan visit, 1)
	ctx := within(t, step)
	go func() {
		status, _, err := load.Get(ctx, l.Addr(), "/readyz")
		c <- visit{status, err}
	}()
	return c
}

// answered checks that a request was not lost, wherever it was held.
func answered(t *testing.T, c <-chan visit) {
	t.Helper()
	select {
	case v := <-c:
		if v.err != nil || v.status != 200 {
			t.Errorf("GET /readyz = %d, %v, want 200", v.status, v.err)
		}
	case <-time.After(step):
		t.Error("GET /readyz is not answered")
	}
}

// stopped waits for the stop at the breakpoint, and looks at the variables.
func stopped(t *testing.T, l *loop.Loop, e *editor.Editor, line int) editor.Stop {
	t.Helper()
	s, err := e.Stopped(within(t, step))
	if err != nil {
		t.Fatal(err)
	}
	if s.Line != line || s.File != l.Checkout.Path(debugged) || !strings.HasSuffix(s.Function, "getReady") {
		t.Errorf("stopped in %s at %s:%d, want getReady at %s:%d", s.Function, s.File, s.Line, l.Checkout.Path(debugged), line)
	}
	if r := s.Locals["r"]; !strings.Contains(r, "http.Request") {
		t.Errorf("the variable r is %q, want a request; all are %v", r, s.Locals)
	}
	return s
}

func continues(t *testing.T, e *editor.Editor, s editor.Stop) {
	t.Helper()
	if err := e.Continue(within(t, step), s.Thread); err != nil {
		t.Fatal(err)
	}
}

// hit has the breakpoint hit, and goes on.
func hit(t *testing.T, l *loop.Loop, e *editor.Editor, line int) {
	t.Helper()
	c := ask(t, l)
	continues(t, e, stopped(t, l, e, line))
	answered(t, c)
}

// debuggedEdits: one session over edits that move the line, under load.
func debuggedEdits(t *testing.T, l *loop.Loop) {
	running, err := l.Load(t.Context(), load.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var attached, untilHit []time.Duration
	func() {
		defer func() {
			report := running.Stop()
			for _, f := range report.Failures {
				t.Errorf("lost: %s", f)
			}
			t.Logf("report: %s: meanwhile: %s", l.Kind, report)
		}()
		began := time.Now()
		e := attach(t, l, editor.Reconfigures)
		attached = append(attached, time.Since(began))
		if state, err := l.Status(within(t, step)); err != nil || !strings.Contains(state.Debugger, "a scripted editor") {
			t.Errorf("devloop status = %+v, %v, want it to name the editor", state, err)
		}
		_, line := source(t, l, 0, 0)
		hit(t, l, e, line)
		for n := 1; n <= many(*debugEdits, l.Kind == loop.Host); n++ {
			line, served := reload(t, l, e, n, n)
			c := ask(t, l)
			s := stopped(t, l, e, line)
			untilHit = append(untilHit, time.Since(served))
			continues(t, e, s)
			answered(t, c)
		}
		if n := e.Ended(); n > 0 {
			t.Errorf("%d events told the editor to end its session, want 0", n)
		}
		if err := e.Disconnect(within(t, step)); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("report: %s: attached in %v; serving to the breakpoint's hit: %v", l.Kind, attached[0].Round(time.Millisecond), stats.Of(untilHit))
}

// ignores: what such an editor set last is set again by the loop.
func ignores(t *testing.T, l *loop.Loop) {
	e := attach(t, l, editor.Ignores)
	_, line := source(t, l, 0, 0)
	for n := 1; n <= 3; n++ {
		reload(t, l, e, n, 0)
		hit(t, l, e, line)
	}
	if err := e.Disconnect(within(t, step)); err != nil {
		t.Error(err)
	}
}

// reloadWhileStopped: what is held at the breakpoint, by several goroutines, is
// finished by the old process.
func reloadWhileStopped(t *testing.T, l *loop.Loop) {
	e := attach(t, l, editor.Reconfigures)
	line, _ := reload(t, l, e, 1, 0)
	held := []<-chan visit{ask(t, l), ask(t, l), ask(t, l)}
	s := stopped(t, l, e, line)
	if err := e.Send("next", map[string]int{"threadId": s.Thread}); err != nil {
		t.Fatal(err)
	}
	line, _ = reload(t, l, e, 2, 1)
	for _, c := range held {
		answered(t, c)
	}
	e.Forget()
	hit(t, l, e, line)
	if err := e.Disconnect(within(t, step)); err != nil {
		t.Error(err)
	}
}

// brokenWhileStopped: the process stays where it stopped.
func brokenWhileStopped(t *testing.T, l *loop.Loop) {
	e := attach(t, l, editor.Reconfigures)
	_, line := source(t, l, 0, 0)
	c := ask(t, l)
	s := stopped(t, l, e, line)
	from := l.Process.Out.End()
	text, _ := source(t, l, 1, 0)
	if err := l.Checkout.Write(debugged, text+"\nbroken\n", checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Process.Out.Wait(within(t, step), from, loop.Failed); err != nil {
		t.Fatal(err)
	}
	continues(t, e, s)
	answered(t, c)
	hit(t, l, e, line)
	if err := e.Disconnect(within(t, step)); err != nil {
		t.Error(err)
	}
}

// cut: the server keeps serving when the editor is gone without a word.
func cut(t *testing.T, l *loop.Loop) {
	_, line := source(t, l, 0, 0)
	e := attach(t, l, editor.Reconfigures)
	held := ask(t, l)
	stopped(t, l, e, line)
	second, err := editor.Connect(within(t, step), l.DebugAddr(), editor.Reconfigures)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Attach(within(t, step), "", "", "", 0); err == nil || !strings.Contains(err.Error(), "a scripted editor") {
		t.Errorf("attach of a second editor = %v, want an error that names the first", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	answered(t, held)
	if err := settle(within(t, step), l); err != nil {
		t.Fatal(err)
	}
	e = attach(t, l, editor.Reconfigures) // and takes it over
	hit(t, l, e, line)
	if err := e.Close(); err != nil { // while it runs
		t.Fatal(err)
	}
}

// restartButton: a new process of the same program, in the same session.
func restartButton(t *testing.T, l *loop.Loop) {
	e := attach(t, l, editor.Reconfigures)
	from := l.Process.Out.End()
	if _, err := e.Call(within(t, step), "restart", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Process.Out.Wait(within(t, step), from, moved); err != nil {
		t.Fatal(err)
	}
	_, line := source(t, l, 0, 0)
	hit(t, l, e, line)
	if err := e.Disconnect(within(t, step)); err != nil {
		t.Error(err)
	}
}

// lineNumbers: an edit that only moves lines restarts nothing until an
// editor attaches.
func lineNumbers(t *testing.T, l *loop.Loop) {
	text, line := source(t, l, 0, 3)
	from := l.Process.Out.End()
	if err := l.Checkout.Write(debugged, text, checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	if line, err := l.Process.Out.Wait(within(t, step), from, loop.Outcome); err != nil || !loop.Unchanged.MatchString(line.Text) {
		t.Fatalf("an edit that moves lines: %q, %v, want no reload", line.Text, err)
	}
	e, err := editor.Connect(within(t, step), l.DebugAddr(), editor.Reconfigures)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Attach(within(t, step), l.Checkout.Dir, l.Root(), l.Checkout.Path(debugged), line); err != nil {
		t.Fatal(err)
	}
	hit(t, l, e, line)
	if err := e.Disconnect(within(t, step)); err != nil {
		t.Error(err)
	}
}
