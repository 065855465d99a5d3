package reload

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/load"
	"e2e/harness/loop"
	"e2e/harness/stats"
	"e2e/harness/terminal"
)

// planted is a file that makes the program misbehave in its main package.
const planted = "workspace-server/cmd/workspace-server/planted.go"

// mainWith returns a file of the main package whose code runs before main.
func mainWith(imports, init string) string {
	var b strings.Builder
	b.WriteString("package main\n\n")
	for name := range strings.FieldsSeq(imports) {
		fmt.Fprintf(&b, "import %q\n", name)
	}
	return b.String() + "\nfunc init() {\n\t" + init + "\n}\n"
}

// save writes a file in the checkout.
func save(t *testing.T, l *loop.Loop, name, content string, way checkout.Way) {
	t.Helper()
	if err := l.Checkout.Write(name, content, way); err != nil {
		t.Fatal(err)
	}
}

// await waits for a line.
func await(t *testing.T, l *loop.Loop, from terminal.Place, re *regexp.Regexp) terminal.Line {
	t.Helper()
	line, err := l.Process.Out.Wait(within(t, 2*time.Minute), from, re)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// pid returns the serving process.
func pid(t *testing.T, l *loop.Loop) int {
	t.Helper()
	ready, err := l.Ready(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return ready.PID
}

// printed returns the texts of the lines since a place.
func printed(l *loop.Loop, from terminal.Place) string {
	var b strings.Builder
	for _, line := range l.Process.Out.Since(from) {
		fmt.Fprintln(&b, line.Text)
	}
	return b.String()
}

// failedReloads: when a build or its start fails, the old process keeps serving, the
// loop says why once, and a good edit recovers.
func failedReloads(t *testing.T, l *loop.Loop) {
	tests := []struct {
		name       string
		file, text string
		head       string // of the report
		detail     string // somewhere in it
		both       bool   // also in the container: one failed build and one failed start
	}{
		{
			"syntax error", "workspace-server/internal/api/planted.go", "package api\n\nfunc planted( {\n",
			`^build failed in [0-9.]+s: the last good build \(pid %d\) keeps serving$`,
			`workspace-server/internal/api/planted\.go:3:15: syntax error`, true,
		},
		{
			"type error", planted, mainWith("", `var n int = "planted"; _ = n`),
			`^build failed in [0-9.]+s: the last good build \(pid %d\) keeps serving$`,
			`workspace-server/cmd/workspace-server/planted\.go:5:14: cannot use "planted"`, false,
		},
		{
			"missing import", planted, mainWith("workspace-server/internal/absent", ""),
			`^build failed in [0-9.]+s: the last good build \(pid %d\) keeps serving$`,
			`workspace-server/cmd/workspace-server/planted\.go:3:8: package workspace-server/internal/absent is not in std|"?workspace-server/internal/absent"? imported and not used|no required module provides package|planted\.go:3:8: .*workspace-server/internal/absent`, false,
		},
		{
			"panic at start", planted, mainWith("", `panic("planted panic")`),
			`^the new build ended before it was ready \(exit status 2\): the last good build \(pid %d\) keeps serving$`,
			`planted panic`, true,
		},
		{
			"exit 0 at start", planted, mainWith("os", `println("planted exit"); os.Exit(0)`),
			`^the new build ended before it was ready \(exit status 0\): the last good build \(pid %d\) keeps serving$`,
			`planted exit`, false,
		},
		{
			"never ready", planted, mainWith("time", `println("planted sleep"); time.Sleep(time.Hour)`),
			`^the new build was not ready within .*: the last good build \(pid %d\) keeps serving$`,
			`planted sleep`, false,
		},
	}
	for _, tt := range tests {
		if l.Kind == loop.Container && !tt.both {
			continue
		}
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			before := pid(t, l)
			underLoad(t, l, func(running *load.Load) {
				from := l.Process.Out.End()
				save(t, l, tt.file, tt.text, checkout.InPlace)
				head := regexp.MustCompile(fmt.Sprintf(tt.head, before))
				await(t, l, from, head)
				await(t, l, from, regexp.MustCompile(tt.detail))
				if now := pid(t, l); now != before {
					t.Errorf("%s: pid %d serves, want %d as before", tt.name, now, before)
				}
				state, err := l.Status(within(t, time.Minute))
				if err != nil {
					t.Fatal(err)
				}
				if state.PID != before || state.Failure == "" {
					t.Errorf("devloop status = %+v, want pid %d and a failure", state, before)
				}
				// Another edit, which the loop must notice, mends it.
				if _, err := l.Checkout.Restore(); err != nil {
					t.Fatal(err)
				}
				e := edit(t, l)
				running.Serving(e.N)
				if n := l.Process.Out.Count(from, head); n != 1 {
					t.Errorf("%s was reported %d times, want once:\n%s", tt.name, n, printed(l, from))
				}
			})
		})
	}
}

// awaitVersion waits until edit n serves, over new connections.
func awaitVersion(t *testing.T, l *loop.Loop, n int) {
	t.Helper()
	if _, err := loop.AwaitVersion(within(t, 2*time.Minute), l.Addr(), n, nil); err != nil {
		t.Fatalf("%v; printed were:\n%s", err, terminal.Format(l.Process.Out.Since(0)))
	}
}

// noneRefused makes connections, one after the other, until done is closed. A
// process that dies takes along the requests that it has begun, but the next
// connection waits for the next process.
func noneRefused(t *testing.T, l *loop.Loop, done <-chan struct{}) (slowest time.Duration) {
	t.Helper()
	cut := 0
	for {
		select {
		case <-done:
			if cut > 3 {
				t.Errorf("%d requests were cut by the death of one process, want no more than it can have held", cut)
			}
			return slowest
		default:
		}
		began := time.Now()
		status, body, err := load.Get(t.Context(), l.Addr(), "/healthz")
		switch {
		case err != nil && strings.HasPrefix(err.Error(), "connect:"):
			t.Errorf("a connection was refused: %v", err)
		case err != nil:
			cut++
		case status != 200:
			t.Errorf("GET /healthz: status %d, want 200: %s", status, body)
		}
		slowest = max(slowest, time.Since(began))
	}
}

// exitAfterReady: a build that does not last is rolled back.
func exitAfterReady(t *testing.T, l *loop.Loop) {
	from := l.Process.Out.End()
	good := edit(t, l)
	bad := l.NextEdit()
	text, err := loop.HealthSource(l.Checkout, bad)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// It ends once the loop says that it serves, however long its start takes: the
		// server answers a little earlier.
		before := l.Process.Out.End()
		const end = "workspace-server/planted-end"
		save(t, l, planted, mainWith("os time", fmt.Sprintf(`go func() {
		for _, err := os.Stat(%q); err != nil; _, err = os.Stat(%[1]q) {
			time.Sleep(10 * time.Millisecond)
		}
		println("planted end")
		os.Exit(4)
	}()`, l.Root()+"/"+end)), checkout.InPlace)
		save(t, l, loop.Health, text, checkout.InPlace)
		await(t, l, before, loop.Reloaded)
		awaitVersion(t, l, bad)
		save(t, l, end, "", checkout.InPlace)
		await(t, l, from, regexp.MustCompile(`^the server \(pid \d+\) died: exit status 4; rolling back to the previous build$`))
		await(t, l, from, regexp.MustCompile(`planted end`))
		await(t, l, from, regexp.MustCompile(`^serving again in [0-9.]+s  \(pid \d+\)$`))
		awaitVersion(t, l, good.N)
	}()
	slowest := noneRefused(t, l, done)
	t.Logf("report: %s: a build that dies after it was ready: the slowest request took %s", l.Kind, stats.Seconds(slowest))
}

// exitInsteadOfDraining: the old process may die at once, since the new one
// accepts already.
func exitInsteadOfDraining(t *testing.T, l *loop.Loop) {
	from := l.Process.Out.End()
	save(t, l, planted, mainWith("os os/signal syscall",
		`c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGTERM); go func() { <-c; os.Exit(5) }()`), checkout.InPlace)
	await(t, l, from, loop.Reloaded)
	edit(t, l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		edit(t, l)
	}()
	slowest := noneRefused(t, l, done)
	if strings.Contains(printed(l, from), "died") {
		t.Errorf("the loop reported the end of a replaced process as a crash:\n%s", printed(l, from))
	}
	t.Logf("report: %s: an old process that does not drain: the slowest request took %s", l.Kind, stats.Seconds(slowest))
}
