package report

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/source"
)

const ms = time.Millisecond

func TestLines(t *testing.T) {
	edited := []source.Change{{Path: "internal/api/workspaces.go"}, {Path: "b.go"}, {Path: "c.go"}}
	tests := []struct {
		name  string
		print func(p *Printer)
		want  string
	}{
		{"Serving", func(p *Printer) { p.Serving("http://localhost:8080", 7) }, "serving  http://localhost:8080  (pid 7)\n"},
		{"Serving without announcement", func(p *Printer) { p.Serving("", 7) }, "serving  (pid 7)\n"},
		{
			"Reloaded",
			func(p *Printer) { p.Reloaded(Timing{30 * ms, 690 * ms, 40 * ms, 20 * ms}, edited[:1], false) },
			"reloaded in 0.78s  (detect 0.03, build 0.69, start 0.04, swap 0.02)  mod/internal/api/workspaces.go\n",
		},
		{
			"Reloaded, many files",
			func(p *Printer) { p.Reloaded(Timing{Build: 12 * time.Second}, edited, false) },
			"reloaded in 12.00s  (detect 0.00, build 12.00, start 0.00, swap 0.00)  mod/internal/api/workspaces.go and 2 more\n",
		},
		{
			"Reloaded, and another edit was made",
			func(p *Printer) { p.Reloaded(Timing{Build: 12 * time.Second}, edited[:1], true) },
			"reloaded in 12.00s  (detect 0.00, build 12.00, start 0.00, swap 0.00)  mod/internal/api/workspaces.go; a newer edit follows\n",
		},
		{
			"Reloaded, without a known edit",
			func(p *Printer) { p.Reloaded(Timing{}, nil, false) },
			"reloaded in 0.00s  (detect 0.00, build 0.00, start 0.00, swap 0.00)\n",
		},
		{
			"Unchanged",
			func(p *Printer) { p.Unchanged("same program", 7, edited[:1]) },
			"no reload: same program, pid 7 keeps serving  mod/internal/api/workspaces.go\n",
		},
		{
			"BuildFailed",
			func(p *Printer) {
				p.BuildFailed(240*ms, 7, []string{"a/b.go:1:2: undefined: x", "\ta/b.go:3:4: other"})
			},
			"build failed in 0.24s: the last good build (pid 7) keeps serving\n  mod/a/b.go:1:2: undefined: x\n  \tmod/a/b.go:3:4: other\n",
		},
		{
			"BuildFailed, nothing serves",
			func(p *Printer) { p.BuildFailed(240*ms, 0, []string{"go.mod:5: unknown directive: foo"}) },
			"build failed in 0.24s: nothing serves yet; requests wait for the next good build\n  mod/go.mod:5: unknown directive: foo\n",
		},
		{
			"StartFailed",
			func(p *Printer) { p.StartFailed("the new build ended", 7, []string{"panic: x", "", "goroutine 1"}) },
			"the new build ended: the last good build (pid 7) keeps serving\n  panic: x\n  \n  goroutine 1\n",
		},
		{
			"CommandFailed",
			func(p *Printer) { p.CommandFailed(127, 7, []string{"sh: templ: not found"}) },
			"build failed: air's cmd ended with exit status 127: the last good build (pid 7) keeps serving\n  sh: templ: not found\n",
		},
		{"Failed", func(p *Printer) { p.Failed(errors.New("no room"), 7) }, "reload failed: no room: the last good build (pid 7) keeps serving\n"},
		{
			"Crashed",
			func(p *Printer) { p.Crashed(7, "exit status 2", []string{"panic: x"}, false) },
			"the server (pid 7) died: exit status 2; starting it again\n  panic: x\n",
		},
		{
			"Crashed, rolled back",
			func(p *Printer) { p.Crashed(7, "signal: killed", nil, true) },
			"the server (pid 7) died: signal: killed; rolling back to the previous build\n",
		},
		{"Restarted", func(p *Printer) { p.Restarted(8, 20*ms) }, "serving again in 0.02s  (pid 8)\n"},
		{
			"RestartFailed",
			func(p *Printer) { p.RestartFailed(errors.New("the server ended"), 200*ms) },
			"the server ended; trying again in 200ms\n",
		},
		{
			"Overran",
			func(p *Printer) { p.Overran(7, 10*time.Second, "") },
			"the replaced server (pid 7) did not end within 10s and was killed\n",
		},
		{
			"Overran with requests",
			func(p *Printer) { p.Overran(7, 10*time.Minute, "2 requests") },
			"the replaced server (pid 7) did not end within 10m0s and was killed, which cut 2 requests\n",
		},
		{
			"GaveWay",
			func(p *Printer) { p.GaveWay(7, "1 upgraded connection") },
			"the oldest replaced server (pid 7) gave way to newer ones and was killed, which cut 1 upgraded connection\n",
		},
		{
			"Stays",
			func(p *Printer) { p.Stays(7, "1 request", time.Date(2026, 1, 2, 15, 4, 5, 6, time.UTC)) },
			"the replaced server (pid 7) stays for 1 request, until 15:04:05 at the latest\n",
		},
		{"Chosen", func(p *Printer) { p.Chosen("fixed", "as it is") }, "mode fixed: as it is\n"},
		{
			"WatcherDied",
			func(p *Printer) { p.WatcherDied("exit status 1", []string{"x"}, 50*ms) },
			"air ended: exit status 1; starting it again in 50ms\n  x\n",
		},
		{"WatcherSaid", func(p *Printer) { p.WatcherSaid("failed to watch x") }, "air: failed to watch x\n"},
		{"DebuggerAttached", func(p *Printer) { p.DebuggerAttached("VS Code", 7) }, "debugger attached: VS Code, pid 7\n"},
		{"DebuggerMoved", func(p *Printer) { p.DebuggerMoved(8, 640*ms, false) }, "debugger moved to pid 8 in 0.64s\n"},
		{"BreakpointLost", func(p *Printer) { p.BreakpointLost("/base/mod/a.go", 7) }, "breakpoint lost: the line is gone that was mod/a.go:7\n"},
		{
			"DebuggerMoved, halted",
			func(p *Printer) { p.DebuggerMoved(8, 640*ms, true) },
			"debugger moved to pid 8 in 0.64s; it is paused until you continue it\n",
		},
		{"DebuggerDetached", func(p *Printer) { p.DebuggerDetached("VS Code") }, "debugger detached: VS Code\n"},
		{
			"DebuggerFailed",
			func(p *Printer) { p.DebuggerFailed("VS Code", errors.New("attach to pid 7: no")) },
			"debugger: VS Code: attach to pid 7: no\n",
		},
		{"Notice", func(p *Printer) { p.Notice("run make rebuild") }, "run make rebuild\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.print(New(&out, "/base", "/base/mod"))
			if got := out.String(); got != tt.want {
				t.Errorf("printed %q\nwant    %q", got, tt.want)
			}
		})
	}
}

func TestClickable(t *testing.T) {
	tests := []struct{ base, dir, line, want string }{
		{"/base", "/base/mod", "main.go:1:2: x", "mod/main.go:1:2: x"},
		{"/base", "/base/mod", "./main.go:1:2: x", "mod/main.go:1:2: x"},
		{"/base", "/base/mod", "../lib/x.go:1: x", "lib/x.go:1: x"},
		{"/base", "/base/mod", "../../far/x.go:1:2: x", "/far/x.go:1:2: x"},
		{"/base", "/base/mod", "/base/mod/x.go:1:2: x", "mod/x.go:1:2: x"},
		{"/base", "/base/mod", "/usr/lib/go/src/x.go:1:2: x", "/usr/lib/go/src/x.go:1:2: x"},
		{"/base", "/base", "a/x.go:1:2: x", "a/x.go:1:2: x"},
		{"/my base", "/my base/a mod", "a dir/my file.go:1:2: x", "a mod/a dir/my file.go:1:2: x"},
		{"/base", "/base/mod", "\tmain.go:1:2: other declaration of x", "\tmod/main.go:1:2: other declaration of x"},
		{"/base", "/base/mod", "go.mod:5: unknown directive: foo", "mod/go.mod:5: unknown directive: foo"},
		{"/base", "/base/mod", "main.go:1:2: see other.go:3:4", "mod/main.go:1:2: see other.go:3:4"},
		{"/base", "/base/mod", "ünï.go:1:2: x", "mod/ünï.go:1:2: x"},

		// No place, nothing to rewrite.
		{"/base", "/base/mod", "", ""},
		{"/base", "/base/mod", "\tgo get x", "\tgo get x"},
		{"/base", "/base/mod", "main.go: no position", "main.go: no position"},
		{"/base", "/base/mod", "go: errors parsing go.mod:", "go: errors parsing go.mod:"},
		{"/base", "/base/mod", "package x: see main.go:1:2", "package x: see main.go:1:2"},
		{"/base", "/base/mod", "x.s:1: unexpected EOF", "x.s:1: unexpected EOF"},
		{"/base", "/base/mod", "too many errors", "too many errors"},
	}
	for _, tt := range tests {
		if got := New(nil, tt.base, tt.dir).clickable(tt.line); got != tt.want {
			t.Errorf("clickable(%q) for %s in %s = %q, want %q", tt.line, tt.dir, tt.base, got, tt.want)
		}
	}
}

// TestWhole has many print at once: no line may be torn.
func TestWhole(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, "/", "/")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				p.StartFailed("a", 1, []string{"b"})
				_, _ = p.Write([]byte("server\n"))
			}
		})
	}
	wg.Wait()
	const event = "a: the last good build (pid 1) keeps serving\n  b\n"
	rest := strings.ReplaceAll(out.String(), event, "")
	if n := strings.Count(rest, "server\n"); n != 800 || len(rest) != n*len("server\n") {
		t.Errorf("left when whole events are taken out: %d of 800 lines of the server, %d bytes", n, len(rest))
	}
}
