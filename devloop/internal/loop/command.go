package loop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"devloop/internal/source"
)

// A Command is a shell command that air is to run for a build, and that does
// more than "devloop build": it may write files that the build reads, or that
// air watches.
type Command struct {
	Script string
	Dir    string
	Env    []string
}

// commands is what the loop knows of such a command. Air runs it again for each
// event, those of the files that it writes itself included.
type commands struct {
	latest  *running
	writing bool        // latest has neither got to its build, nor ended
	before  source.Tree // the files when it began
	base    source.Tree // the files that it ran for, and what it made of them
	outputs map[string]bool
	sums    map[string][sha256.Size]byte // of what only the latest one has written
	code    int
}

// A running is one run of a command.
type running struct {
	script string
	got    chan struct{} // closed when it has got to its build, or has ended
	built  bool          // it has got to its build
}

// Command runs the command unless nothing has been edited since the last time:
// what it has written itself counts as its output. It returns an exit code.
func (l *Loop) Command(ctx context.Context, c Command) int {
	for {
		l.mu.Lock()
		if !l.commands.writing {
			break
		}
		got := l.commands.latest.got
		l.mu.Unlock()
		select { // two at once would write the same files
		case <-got:
		case <-ctx.Done():
			return 1
		}
	}
	if l.closed {
		l.mu.Unlock()
		return 1
	}
	now := l.watched()
	again := l.commands.latest != nil && l.commands.latest.script == c.Script
	if again && len(now.Since(l.commands.base)) == 0 {
		code := l.commands.code
		l.mu.Unlock()
		l.wait()
		return code
	}
	if !again {
		l.commands = commands{outputs: make(map[string]bool)}
	}
	run := &running{script: c.Script, got: make(chan struct{})}
	l.commands.latest, l.commands.writing, l.commands.before = run, true, now
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	stop := func() { cancel(); <-ended }
	l.shells = append(slices.DeleteFunc(l.shells, func(s shell) bool { return s.over() }), shell{stop, ended})
	l.mu.Unlock()

	code, said := l.shell(ctx, c)

	l.mu.Lock()
	built, latest := run.built, l.commands.latest == run
	if latest {
		l.commands.code = code
		l.written()
	}
	l.mu.Unlock()
	if code != 0 && !built && latest && ctx.Err() == nil {
		l.Printer.CommandFailed(code, l.Server.Serving(), said)
	}
	return code
}

// A shell is one that runs a command.
type shell struct {
	stop  func() // ends it, and returns when it is gone
	ended chan struct{}
}

func (s shell) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// shell runs the command to its end, and returns the last lines that it said.
func (l *Loop) shell(ctx context.Context, c Command) (code int, said []string) {
	const lines = 20
	var out bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", c.Script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, &out, &out
	p, err := l.Starter.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return 1, []string{err.Error()}
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
	}
	said = strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if code = p.State().ExitCode(); code < 0 {
		code = 1
	}
	return code, said[max(0, len(said)-lines):]
}

// watched returns the state of the files that air watches.
func (l *Loop) watched() source.Tree {
	exts, skip := l.Watches()
	return source.Find(l.Dir, exts, skip)
}

// written notes what the running command has written until now; l.mu is held.
// Someone may have edited a file at the same time. That is no output, so the
// command will run once more, unless
//
//   - the file says that it is generated (go help generate),
//   - it is the first run, whose files someone has hardly just opened,
//   - or the command wrote the same before.
func (l *Loop) written() {
	c := &l.commands
	if !c.writing {
		return
	}
	first := c.base == nil
	after := l.watched()
	c.base = maps.Clone(c.before)
	sums := make(map[string][sha256.Size]byte)
	for _, change := range after.Since(c.before) {
		text, err := os.ReadFile(filepath.Join(l.Dir, filepath.FromSlash(change.Path)))
		sum := sha256.Sum256(text)
		if old, ok := c.sums[change.Path]; first || err == nil && generated.Match(text) || ok && old == sum {
			c.outputs[change.Path] = true
		}
		sums[change.Path] = sum
		if !c.outputs[change.Path] {
			continue
		}
		if stamp, ok := after[change.Path]; ok {
			c.base[change.Path] = stamp
		} else {
			delete(c.base, change.Path)
		}
	}
	c.sums, c.writing = sums, false
	close(c.latest.got)
}

// generated matches the line by which tools know generated files.
var generated = regexp.MustCompile(`(?m)^\W{0,4} ?Code generated .* DO NOT EDIT\.`)

// asks notes that a build is asked for, maybe by the command that runs: from now
// on, another one may run beside it, and the newest build wins. l.mu is held.
func (l *Loop) asks() {
	if l.commands.writing {
		l.commands.latest.built = true
		l.written()
	}
}
