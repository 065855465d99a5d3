// Package report prints what happens in the loop, one line for each event, for
// the person who watches the terminal.
package report

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"devloop/internal/source"
)

// A Printer writes the loop's lines. It may be used by many goroutines.
type Printer struct {
	mu   sync.Mutex
	out  io.Writer
	base string // directory that printed paths are relative to
	dir  string // directory of the program's module
	past past

	progress progress
}

// New returns a Printer. Paths are shown relative to base, where the reader's
// terminal is; dir is where the go command runs. Both are absolute.
func New(out io.Writer, base, dir string) *Printer {
	return &Printer{out: out, base: base, dir: dir, progress: progress{terminal: isTerminal(out)}}
}

// Write passes on what the server prints, in whole pieces.
func (p *Printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(b)
}

// write is Write; p.mu is held.
func (p *Printer) write(b []byte) (int, error) {
	p.clear()
	p.past.add(b)
	return p.out.Write(b)
}

// print writes a headline and indented details at once.
func (p *Printer) print(head string, details ...string) {
	var b strings.Builder
	fmt.Fprintln(&b, head)
	for _, d := range details {
		fmt.Fprintf(&b, "  %s\n", d)
	}
	_, _ = p.Write([]byte(b.String()))
}

// Timing is where the time of a reload went.
type Timing struct {
	Detect, Build, Start, Swap time.Duration
}

func (t Timing) total() time.Duration { return t.Detect + t.Build + t.Start + t.Swap }

// Serving tells that the first process serves.
func (p *Printer) Serving(announce string, pid int) { p.print(NowServing(announce, pid)) }

// NowServing returns the line that says which process serves, or that none
// does if pid is 0. Announce says where the server is reached.
func NowServing(announce string, pid int) string {
	if pid == 0 {
		return "nothing serves yet"
	}
	if announce != "" {
		announce += "  "
	}
	return fmt.Sprintf("serving  %s(pid %d)", announce, pid)
}

// Now returns what someone must know who looks at the loop later: what serves, and
// why the latest build or start failed, if it did.
func Now(announce string, pid int, failure string) string {
	text := NowServing(announce, pid) + "\n"
	if failure != "" {
		text += "the latest edit does not serve: " + strings.TrimRight(failure, "\n") + "\n"
	}
	return text
}

// Reloaded tells that a new build serves, and whether a newer edit is already there.
func (p *Printer) Reloaded(t Timing, changes []source.Change, newer bool) {
	line := fmt.Sprintf("reloaded in %ss  (detect %s, build %s, start %s, swap %s)%s", seconds(t.total()),
		seconds(t.Detect), seconds(t.Build), seconds(t.Start), seconds(t.Swap), p.what(changes))
	if newer {
		line += "; a newer edit follows"
	}
	p.print(line)
}

// Unchanged tells that an edit made no difference to the program.
func (p *Printer) Unchanged(why string, pid int, changes []source.Change) {
	p.print(fmt.Sprintf("no reload: %s, pid %d keeps serving%s", why, pid, p.what(changes)))
}

// BuildFailed shows the compiler's lines.
func (p *Printer) BuildFailed(took time.Duration, pid int, lines []string) {
	shown := make([]string, len(lines))
	for i, line := range lines {
		shown[i] = p.clickable(line)
	}
	p.print(fmt.Sprintf("build failed in %ss: %s", seconds(took), still(pid)), shown...)
}

// StartFailed tells that a new build did not come up.
func (p *Printer) StartFailed(reason string, pid int, tail []string) {
	p.print(reason+": "+still(pid), tail...)
}

// CommandFailed tells that air's build command failed before its build.
func (p *Printer) CommandFailed(code, pid int, tail []string) {
	p.print(fmt.Sprintf("build failed: air's cmd ended with exit status %d: %s", code, still(pid)), tail...)
}

// Failed tells that a reload failed for any other reason.
func (p *Printer) Failed(err error, pid int) {
	p.print("reload failed: " + err.Error() + ": " + still(pid))
}

func still(pid int) string {
	if pid == 0 {
		return "nothing serves yet; requests wait for the next good build"
	}
	return fmt.Sprintf("the last good build (pid %d) keeps serving", pid)
}

// Crashed implements supervisor.Reporter.
func (p *Printer) Crashed(pid int, how string, tail []string, rolledBack bool) {
	next := "starting it again"
	if rolledBack {
		next = "rolling back to the previous build"
	}
	p.print(fmt.Sprintf("the server (pid %d) died: %s; %s", pid, how, next), tail...)
}

// Restarted implements supervisor.Reporter.
func (p *Printer) Restarted(pid int, took time.Duration) {
	p.print(fmt.Sprintf("serving again in %ss  (pid %d)", seconds(took), pid))
}

// RestartFailed implements supervisor.Reporter.
func (p *Printer) RestartFailed(err error, wait time.Duration) {
	p.print(fmt.Sprintf("%v; trying again in %v", err, wait))
}

// Chosen tells how connections come to the server.
func (p *Printer) Chosen(mode, how string) { p.print(fmt.Sprintf("mode %s: %s", mode, how)) }

// Stays tells that a replaced process has requests that take long.
func (p *Printer) Stays(pid int, has string, until time.Time) {
	p.print(fmt.Sprintf("the replaced server (pid %d) stays for %s, until %s at the latest", pid, has, until.Format(time.TimeOnly)))
}

// Overran tells that a replaced process was killed after so long, and what that
// cut, if anything.
func (p *Printer) Overran(pid int, after time.Duration, cut string) {
	p.print(fmt.Sprintf("the replaced server (pid %d) did not end within %v and was killed%s", pid, after, cutting(cut)))
}

// GaveWay tells the same of the oldest of too many replaced processes.
func (p *Printer) GaveWay(pid int, cut string) {
	p.print(fmt.Sprintf("the oldest replaced server (pid %d) gave way to newer ones and was killed%s", pid, cutting(cut)))
}

func cutting(what string) string {
	if what == "" {
		return ""
	}
	return ", which cut " + what
}

// DebuggerAttached implements relay.Reporter.
func (p *Printer) DebuggerAttached(client string, pid int) {
	p.print(fmt.Sprintf("debugger attached: %s, pid %d", client, pid))
}

// DebuggerMoved implements relay.Reporter.
func (p *Printer) DebuggerMoved(pid int, took time.Duration, halted bool) {
	line := fmt.Sprintf("debugger moved to pid %d in %ss", pid, seconds(took))
	if halted {
		line += "; it is paused until you continue it"
	}
	p.print(line)
}

// BreakpointLost implements relay.Reporter.
func (p *Printer) BreakpointLost(file string, line int) {
	p.print(fmt.Sprintf("breakpoint lost: the line is gone that was %s:%d", p.relative(file), line))
}

// DebuggerDetached implements relay.Reporter.
func (p *Printer) DebuggerDetached(client string) { p.print("debugger detached: " + client) }

// DebuggerFailed implements relay.Reporter.
func (p *Printer) DebuggerFailed(client string, err error) {
	p.print(fmt.Sprintf("debugger: %s: %v", client, err))
}

// WatcherDied implements air.Reporter.
func (p *Printer) WatcherDied(how string, tail []string, wait time.Duration) {
	p.print(fmt.Sprintf("air ended: %s; starting it again in %v", how, wait), tail...)
}

// WatcherSaid implements air.Reporter.
func (p *Printer) WatcherSaid(line string) { p.print("air: " + line) }

// SettingsChanged tells that settings were edited that are read at the start only.
func (p *Printer) SettingsChanged(path string, names []string) {
	p.print(fmt.Sprintf("%s: %s changed: end the loop and start it again for this to take effect", p.relative(path), strings.Join(names, ", ")))
}

// Notice prints a line as it is.
func (p *Printer) Notice(text string) { p.print(text) }

// what names the changed files: the latest, and how many more.
func (p *Printer) what(changes []source.Change) string {
	if len(changes) == 0 {
		return ""
	}
	s := "  " + p.relative(changes[0].Path)
	if n := len(changes) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// position matches the start of a line that the go command prints about a place.
var position = regexp.MustCompile(`^(\s*)([^\s:][^:]*\.go|go\.mod|go\.work)(:\d+(?::\d+)?)`)

// clickable rewrites a path printed by the go command, which is relative to
// the module, so a terminal opened at base can follow it.
func (p *Printer) clickable(line string) string {
	m := position.FindStringSubmatchIndex(line)
	if m == nil {
		return line
	}
	return line[:m[4]] + p.relative(line[m[4]:m[5]]) + line[m[5]:]
}

func (p *Printer) relative(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	if rel, err := filepath.Rel(p.base, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
