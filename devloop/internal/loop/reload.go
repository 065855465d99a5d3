package loop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"devloop/internal/gobuild"
	"devloop/internal/source"
	"devloop/internal/supervisor"
)

// reload builds, then swaps. The code is for air, which asks about the build.
func (l *Loop) reload(ctx context.Context, always bool) (code int, err error) {
	r := reload{built: true, always: always, began: time.Now()}
	if err := l.look(ctx, &r); err != nil {
		l.fail(ctx, err, true)
		return 1, err
	}
	l.mu.Lock()
	request := l.request()
	l.mu.Unlock()
	r.timing.Detect = sinceEdit(r.began, r.changes)
	err = l.compile(ctx, request)
	r.timing.Build = time.Since(r.began)
	if err != nil && ctx.Err() == nil && (l.outdated() || l.needsCgo(request, err)) {
		// A file may have been read while an editor had it half written.
		return l.reload(ctx, always)
	}
	if err != nil {
		l.buildFailed(ctx, err, r)
		return 1, err
	}
	return 0, l.swap(ctx, r)
}

// request is what to build; l.mu is held.
func (l *Loop) request() gobuild.Request {
	if l.cgo {
		return l.build.WithCgo()
	}
	return *l.build
}

// look notes the sources that a reload builds, and what changed in them. An
// editor may have truncated a file, to write it next: look waits for that, but
// not for a file that stays empty.
func (l *Loop) look(ctx context.Context, r *reload) error {
	const (
		patience = time.Second
		pause    = 10 * time.Millisecond
	)
	for {
		tree, generation, err := l.scan()
		if err != nil {
			return err
		}
		l.mu.Lock()
		r.changes = nil
		if l.finished != nil { // at the first build everything would be new
			r.changes = tree.Since(l.finished)
		}
		truncated := slices.ContainsFunc(r.changes, func(c source.Change) bool {
			return c.Empty && time.Since(c.At) < patience
		})
		fits := generation == l.generation
		if fits && !truncated {
			l.started, l.began = tree, r.began
		}
		l.mu.Unlock()
		switch {
		case !fits:
			continue
		case !truncated:
			return nil
		}
		select {
		case <-time.After(pause):
			r.began = time.Now()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// outdated reports whether the sources have changed since the latest build began.
func (l *Loop) outdated() bool {
	_, changes, err := l.edits()
	return err == nil && len(changes) > 0
}

// needsCgo reports whether a build failed for want of cgo alone, and has it on
// from now on.
func (l *Loop) needsCgo(r gobuild.Request, err error) bool {
	if !r.LacksCgo(err) {
		return false
	}
	l.mu.Lock()
	l.cgo = true
	l.mu.Unlock()
	l.Printer.Notice("-race: building with cgo; the program takes 2 to 20 times the time, and 5 to 10 times the memory")
	return true
}

// rerun serves the binary that air asks for once more.
func (l *Loop) rerun(ctx context.Context) error {
	l.mu.Lock()
	command, build, failed := *l.run, l.build, l.failure != ""
	l.mu.Unlock()
	if build != nil && !failed {
		output, err := build.Output()
		if _, missing := os.Stat(command.Path); err == nil && output == command.Path && errors.Is(missing, fs.ErrNotExist) {
			_, err := l.reload(ctx, false) // someone has emptied the directory
			return err
		}
	}
	return l.swap(ctx, reload{})
}

func (l *Loop) buildFailed(ctx context.Context, err error, r reload) {
	compile, ok := errors.AsType[*gobuild.CompileError](err)
	if !ok {
		l.fail(ctx, err, r.built)
		return
	}
	if passing(compile) {
		l.tryAgain()
	} else {
		l.settled()
	}
	// Air may ask twice for one save: the same sources fail the same way.
	if l.finish(true, compile.Error()) {
		l.Printer.BuildFailed(r.timing.Build, l.Server.Serving(), compile.Lines)
	}
}

func (l *Loop) swapFailed(ctx context.Context, err error, r reload) {
	start, ok := errors.AsType[*supervisor.StartError](err)
	if !ok {
		l.fail(ctx, err, r.built)
		return
	}
	l.settled()
	l.finish(r.built, start.Error())
	l.Printer.StartFailed(start.Error(), l.Server.Serving(), start.Tail)
}

// fail reports an error unless the cycle was cancelled, or the same error for
// the same sources has been reported.
func (l *Loop) fail(ctx context.Context, err error, built bool) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	if !built && l.failure != "" {
		l.mu.Unlock() // there is no binary, since the build failed
		return
	}
	news := l.again.failure != steady(err.Error()) || len(l.started.Since(l.again.tree)) > 0
	l.again.failure, l.again.tree = steady(err.Error()), l.started
	l.mu.Unlock()
	l.tryAgain()
	if news {
		l.Printer.Failed(err, l.Server.Serving())
	}
}

// finish notes how a cycle ended that was not cancelled, and whether it built.
// It reports whether that is news.
func (l *Loop) finish(built bool, failure string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := steady(l.failure) != steady(failure)
	if built {
		news = news || len(l.started.Since(l.finished)) > 0
		l.finished = l.started
	}
	turned := (l.failure == "") != (failure == "")
	l.failure = failure
	if turned {
		l.rebase()
	}
	return news
}

// scratch matches the names of directories that each build makes anew.
var scratch = regexp.MustCompile(`(\.build-|go-build|cgo-gcc-input-)[0-9]+`)

// steady returns a message as it is the same each time.
func steady(message string) string { return scratch.ReplaceAllString(message, "$1") }

// An again says when to build again although no source has changed, because
// the latest build failed for a reason that may pass.
type again struct {
	at      time.Time // zero: not at all
	wait    time.Duration
	failure string      // that was reported last
	tree    source.Tree // and its sources
}

// tryAgain has the loop build again after a pause that grows.
func (l *Loop) tryAgain() {
	const shortest, longest = time.Second, 10 * time.Second
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again.wait = min(max(2*l.again.wait, shortest), longest)
	l.again.at = time.Now().Add(l.again.wait)
}

// settled notes that a cycle ended in a way that only an edit changes.
func (l *Loop) settled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = again{}
}

// due reports whether it is time to try again.
func (l *Loop) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.again.at.IsZero() && time.Now().After(l.again.at) && l.build != nil && l.cycle.ended()
}

// passing reports whether what the go command says is no fault of the sources:
// a full disk, a directory that is not there, a network that is down.
func passing(err *gobuild.CompileError) bool {
	for _, line := range err.Lines {
		for _, cause := range []string{
			"no space left on device", "disk quota exceeded", "read-only file system", "permission denied",
			"cannot allocate memory", "too many open files", "resource temporarily unavailable", "input/output error",
			"no such file or directory", "does not exist", "signal: killed",
			"dial tcp", "i/o timeout", "no such host", "connection refused", "connection reset", "TLS handshake timeout", "500 ", "502 ", "503 ", "504 ",
		} {
			if strings.Contains(line, cause) {
				return true
			}
		}
	}
	return false
}
