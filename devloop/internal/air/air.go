// Package air keeps air (github.com/air-verse/air) running: it is what watches
// the files and calls "devloop build" and "devloop swap".
package air

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"devloop/internal/process"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
	// settled is how long air has to run for its next end to count as the first.
	settled = 10 * time.Second
	// grace is how long air gets to stop what it runs.
	grace     = time.Second
	tailLines = 10
)

// A Reporter is told about air's troubles.
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
		if time.Since(began) > settled {
			wait = 0
		}
		wait = min(max(2*wait, minBackoff), maxBackoff)
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
// that tell of files that cannot be watched.
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
		if !ok {
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

func (f *filter) tail() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// plain removes colour sequences (ECMA-48, CSI … m).
func plain(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}
