// Package air keeps air (github.com/air-verse/air) running, which watches the
// files and calls "devloop build" and "devloop run".
package air

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
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
	grace = time.Second
	// configInterval is the time between two looks at air's configuration.
	configInterval = 500 * time.Millisecond
	// brokenLooks is after how many of them a broken configuration is no longer
	// one that an editor is about to write.
	brokenLooks = 3
	tailLines   = 10
	maxLine     = 64 << 10
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

	config atomic.Pointer[Config] // the latest that could be read
}

// Run starts air, and starts it again whenever it ends, until ctx is done.
func (k *Keeper) Run(ctx context.Context) {
	wait := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		out := &filter{report: k.Reporter.WatcherSaid}
		how, edited := k.once(ctx, out)
		if ctx.Err() != nil {
			return
		}
		if edited {
			k.Reporter.WatcherSaid(filepath.Base(k.configPath()) + " changed; starting again with it")
			wait = 0
			continue
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

// once runs air until it ends, or until its configuration has been edited, which
// air reads only at its start.
func (k *Keeper) once(ctx context.Context, out io.Writer) (how string, edited bool) {
	before, _ := k.read()
	cmd := exec.Command(k.Command[0], k.arguments()...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = k.Dir, k.Env, out, out
	p, err := k.Starter.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return err.Error(), false
	}
	tick := time.NewTicker(configInterval)
	defer tick.Stop()
	for broken := 0; ; {
		select {
		case <-p.Done():
			return p.State().String(), false
		case <-ctx.Done():
			p.Stop(grace)
			return p.State().String(), false
		case <-tick.C:
		}
		now, err := k.read()
		switch {
		case err == nil && now != before:
			p.Stop(grace)
			return p.State().String(), true
		case err == nil || errors.Is(err, fs.ErrNotExist):
			broken = 0
		default:
			if broken++; broken == brokenLooks {
				k.Reporter.WatcherSaid(fmt.Sprintf("%s cannot be read (%v): air goes on with what it read before", filepath.Base(k.configPath()), err))
			}
		}
	}
}

// read reads the configuration, and returns its text.
func (k *Keeper) read() (string, error) {
	c, err := k.Config()
	if err != nil {
		return "", err
	}
	k.config.Store(&c)
	return c.text, nil
}

// Ruled reports whether a rule of the configuration is about a file, see
// Config.Ruled.
func (k *Keeper) Ruled(name string) bool {
	c := k.config.Load()
	return c != nil && c.Ruled(name)
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
