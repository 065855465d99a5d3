// Package air keeps air (github.com/air-verse/air) running, which watches the
// files and calls "devloop build" and "devloop run".
package air

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"devloop/internal/process"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
	// settled is how long air must run for its next end to count as the first.
	settled = 10 * time.Second
	// grace is how long air gets to stop what it runs.
	grace     = time.Second
	tailLines = 10
	maxLine   = 64 << 10
)

// A Reporter takes notice of air's troubles.
type Reporter interface {
	// WatcherDied tells that air ended; it is started again after wait.
	WatcherDied(how string, tail []string, wait time.Duration)
	// WatcherSaid passes on a line about a failure to watch.
	WatcherSaid(line string)
}

// A Keeper runs air.
type Keeper struct {
	Starter  *process.Starter
	Command  []string // air and its arguments
	Dir      string
	Env      []string
	Reporter Reporter
}

// Run starts air, and starts it again whenever it ends, until ctx is done.
func (k *Keeper) Run(ctx context.Context) {
	wait := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		out := &filter{report: k.Reporter.WatcherSaid}
		how := k.once(ctx, out)
		if ctx.Err() != nil {
			return
		}
		wait = next(wait, time.Since(began))
		tail := out.tail()
		if strings.HasPrefix(how, "signal:") {
			tail = nil // air had nothing to do with it
		}
		k.Reporter.WatcherDied(how, tail, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// next returns the pause after the one before, when air ran that long in between.
func next(before, ran time.Duration) time.Duration {
	if ran > settled {
		before = 0
	}
	return min(max(2*before, minBackoff), maxBackoff)
}

func (k *Keeper) once(ctx context.Context, out io.Writer) string {
	cmd := exec.Command(k.Command[0], k.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = k.Dir, k.Env, out, out
	p, err := k.Starter.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return err.Error()
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop(grace)
	}
	return p.State().String()
}

// A filter drops what air says while all is well: each build and each start is
// reported by the loop itself. It keeps the last lines, and passes on those
// about files that cannot be watched.
type filter struct {
	report func(string)

	mu   sync.Mutex
	part []byte
	last []string
}

func (f *filter) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.part = append(f.part, p...)
	for {
		line, rest, ok := bytes.Cut(f.part, []byte("\n"))
		if !ok && len(f.part) < maxLine {
			return len(p), nil
		}
		f.part = rest
		f.line(plain(string(line)))
	}
}

func (f *filter) line(s string) {
	if strings.TrimSpace(s) == "" {
		return
	}
	f.last = append(f.last, s)
	f.last = f.last[max(0, len(f.last)-tailLines):]
	if strings.Contains(s, "failed to watch") || strings.Contains(s, "error: ") && !strings.Contains(s, "failed to build") {
		f.report(s)
	}
}

// tail returns the last lines, one without an end included.
func (f *filter) tail() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.part) > 0 {
		f.line(plain(string(f.part)))
		f.part = nil
	}
	return f.last
}

// sequence matches what moves the cursor or changes colours (ECMA-48, CSI).
var sequence = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]`)

func plain(s string) string { return strings.TrimRight(sequence.ReplaceAllString(s, ""), "\r") }
