//go:build unix

package provisiontest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"workspace-server/internal/provision"
)

// lines returns what an agent writes that must write n lines, from one on.
func lines(from, n int) string {
	var b strings.Builder
	for i := from; i <= n; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// logs returns all that Logs gives.
func (w *world) logs(tail int, follow bool) string {
	w.t.Helper()
	r, err := w.other.Logs(w.ctx, w.id, tail, follow)
	if err != nil {
		w.t.Fatalf("Logs(tail %d, follow %t) = %v", tail, follow, err)
	}
	text, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		w.t.Errorf("read Logs(tail %d, follow %t): %v", tail, follow, err)
	}
	return string(text)
}

// follow returns a reader of lines, which is closed after the test.
func (w *world) follow(ctx context.Context, tail int) (io.ReadCloser, *bufio.Reader) {
	w.t.Helper()
	r, err := w.p.Logs(ctx, w.id, tail, true)
	if err != nil {
		w.t.Fatalf("Logs(tail %d, follow) = %v", tail, err)
	}
	w.t.Cleanup(func() { _ = r.Close() })
	return r, bufio.NewReader(r)
}

func (w *world) wantLine(r *bufio.Reader, want string) {
	w.t.Helper()
	if got, err := r.ReadString('\n'); err != nil || got != want+"\n" {
		w.t.Fatalf("the log has the line %q, %v, want %q", got, err, want)
	}
}

func (w *world) print(in provision.Instance, line string) {
	w.t.Helper()
	if _, err := w.call("POST", in.Address, "/print", "line", line); err != nil {
		w.t.Fatalf("have the agent write %q: %v", line, err)
	}
}

func testLogs(w *world) {
	w.started(1, map[string]string{envLines: "30"})
	w.eventually("the lines are there", func() error {
		if got := w.logs(-1, false); got != lines(1, 30) {
			return errors.New(got)
		}
		return nil
	})
	check := func(when string) {
		w.t.Helper()
		for _, follow := range []bool{false, true} {
			if follow && when == "running" {
				continue // it would not end
			}
			for tail, want := range map[int]string{-1: lines(1, 30), 0: "", 1: lines(30, 30), 7: lines(24, 30), 30: lines(1, 30), 1000: lines(1, 30)} {
				if got := w.logs(tail, follow); got != want {
					w.t.Errorf("%s: Logs(tail %d, follow %t) = %q, want %q", when, tail, follow, got, want)
				}
			}
		}
	}
	check("running")
	if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	check("stopped")
	// The standard error is in the log, too.
	if _, err := w.p.Start(w.ctx, w.spec(2, map[string]string{envError: "it is broken", envExit: "1"})); err != nil {
		w.t.Fatalf("Start = %v", err)
	}
	w.exited()
	if got := w.logs(-1, false); got != "it is broken\n" {
		w.t.Errorf("Logs of the next generation = %q, want what it wrote to its standard error", got)
	}
}

func testLogsFollow(w *world) {
	in := w.started(1, map[string]string{envLines: "2"})
	_, r := w.follow(w.ctx, -1)
	_, second := w.follow(w.ctx, -1)
	for _, r := range []*bufio.Reader{r, second} {
		w.wantLine(r, "line 1")
		w.wantLine(r, "line 2")
	}
	for _, line := range []string{"three", "", strings.Repeat("long ", 20_000), "five"} {
		w.print(in, line)
		w.wantLine(r, line)
		w.wantLine(second, line)
	}
	w.print(in, "the last")
	if err := w.other.Stop(w.ctx, w.id, time.Minute); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	for _, r := range []*bufio.Reader{r, second} {
		w.wantLine(r, "the last")
		if b, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			w.t.Errorf("after the end, the log has %q, %v, want %v", b, err, io.EOF)
		}
	}
}

func testLogsFollowFromEnd(w *world) {
	in := w.started(1, map[string]string{envLines: "3"})
	w.eventually("the lines are there", func() error {
		if got := w.logs(-1, false); got != lines(1, 3) {
			return errors.New(got)
		}
		return nil
	})
	_, last := w.follow(w.ctx, 1)
	w.wantLine(last, "line 3")
	_, none := w.follow(w.ctx, 0)
	w.print(in, "new")
	w.wantLine(last, "new")
	w.wantLine(none, "new")
}

// blocked starts a read that has nothing to read, and returns its end.
func (w *world) blocked(r *bufio.Reader) <-chan error {
	w.t.Helper()
	w.wantLine(r, "line 1")
	done := make(chan error, 1)
	go func() {
		_, err := r.ReadByte()
		done <- err
	}()
	return done
}

func (w *world) wantEnd(done <-chan error) {
	w.t.Helper()
	select {
	case err := <-done:
		if err == nil {
			w.t.Error("the log has more, want its end")
		}
	case <-w.ctx.Done():
		w.t.Fatal("the log does not end")
	}
}

func testLogsClosed(w *world) {
	w.started(1, map[string]string{envLines: "1"})
	c, r := w.follow(w.ctx, -1)
	done := w.blocked(r)
	if err := c.Close(); err != nil {
		w.t.Errorf("Close = %v", err)
	}
	w.wantEnd(done)
	w.wantAgents(1)
	// A reader that no one reads from can be closed, too.
	if c, _ := w.follow(w.ctx, -1); c.Close() != nil {
		w.t.Error("Close of a reader that no one reads from fails")
	}
}

func testLogsCancelled(w *world) {
	w.started(1, map[string]string{envLines: "1"})
	ctx, cancel := context.WithCancel(w.ctx)
	_, r := w.follow(ctx, -1)
	done := w.blocked(r)
	cancel()
	w.wantEnd(done)
	w.wantAgents(1)
	if _, err := w.p.Logs(ctx, w.id, -1, true); !errors.Is(err, context.Canceled) {
		w.t.Errorf("Logs with a context that is done = %v, want %v", err, context.Canceled)
	}
}

func testLogsRemoved(w *world) {
	w.started(1, map[string]string{envLines: "1"})
	_, r := w.follow(w.ctx, -1)
	done := w.blocked(r)
	if err := w.other.Remove(w.ctx, w.id, false); err != nil {
		w.t.Errorf("Remove = %v", err)
	}
	w.wantEnd(done)
}

func testLogsNone(w *world) {
	for _, follow := range []bool{false, true} {
		if r, err := w.p.Logs(w.ctx, w.id, -1, follow); !provision.IsAbsent(err) {
			w.t.Errorf("Logs(follow %t) of none = %v, %v, want that it is absent", follow, r, err)
		}
	}
}
