package sweep

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// run sweeps for some time with remove, and returns the log.
func run(t *testing.T, level slog.Level, lasts time.Duration, remove Remove) string {
	t.Helper()
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	s := Sweeper{What: "events", Keep: time.Hour, Remove: remove, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))}
	s.Run(ctx)
	return log.String()
}

// A sweep removes all old things, in batches, and comes again.
func TestSweepsInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, before := 2*batch+5, []time.Time{}
		start := time.Now()
		log := run(t, slog.LevelDebug, 10*Interval, func(_ context.Context, b time.Time, limit int) (int, error) {
			before = append(before, b)
			if kept := time.Since(b); kept != time.Hour || limit != batch {
				t.Errorf("remove gets limit %d and the age %v, want %d and 1h", limit, kept, batch)
			}
			n := min(left, limit)
			left -= n
			return n, nil
		})
		if left != 0 || len(before) < 3 || before[0] != before[1] || before[1] != before[2] {
			t.Fatalf("%d are left after sweeps at %v, want none, after three batches at once", left, before)
		}
		// Each sweep but the first is one call.
		for i, last := 3, before[0]; i < len(before); i++ {
			if wait := before[i].Sub(last); wait < Interval/2 || wait >= Interval*3/2 {
				t.Errorf("a sweep comes %v after another, want about %v", wait, Interval)
			}
			last = before[i]
		}
		if first := before[0].Add(time.Hour).Sub(start); first < Soonest || first >= Latest {
			t.Errorf("the first sweep comes after %v, want it from %v to %v", first, Soonest, Latest)
		}
		if sweeps := len(before) - 2; sweeps < 6 || sweeps > 20 || strings.Count(log, "removed old data") != 1 || !strings.Contains(log, "number=2005") {
			t.Errorf("%d sweeps in ten intervals, with the log\n%s", sweeps, log)
		}
	})
}

func TestFailuresAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		log := run(t, slog.LevelInfo, 20*Interval, func(context.Context, time.Time, int) (int, error) {
			if calls++; calls <= 3 || calls == 6 {
				return 0, errors.New("no database")
			}
			return 0, nil
		})
		if errs, ends := strings.Count(log, "level=ERROR"), strings.Count(log, "is removed again"); errs != 2 || ends != 2 {
			t.Errorf("two series of failures are logged %d times, their ends %d times, want 2 and 2:\n%s", errs, ends, log)
		}
	})
}

// A sweep that the server's stop interrupts is no failure.
func TestStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		log := run(t, slog.LevelDebug, 2*Interval, func(ctx context.Context, _ time.Time, _ int) (int, error) {
			if limit, ok := ctx.Deadline(); !ok || time.Until(limit) > timeout {
				t.Errorf("a batch may last until %v, want %v at most", limit, timeout)
			}
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if took := time.Since(start); took > 2*Interval {
			t.Errorf("Run returns %v after its start, want it at once when ctx is done, after %v", took, 2*Interval)
		}
		if strings.Contains(log, "canceled") || strings.Count(log, "\n") > 1 {
			t.Errorf("log =\n%s\nwant at most one batch that took too long", log)
		}
	})
}
