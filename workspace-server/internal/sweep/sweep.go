// Package sweep removes what is older than a setting keeps it, in batches, as long
// as the server runs. Every server does so; the database keeps them from harming
// each other.
package sweep

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// Interval is the average time from one sweep to the next.
	Interval = time.Minute

	// The first sweep comes between these times after the start, so that it does
	// not slow the start down, and a server that lives only minutes sweeps too.
	Soonest = time.Second
	Latest  = 5 * time.Second

	batch   = 1000
	timeout = 30 * time.Second // of a batch
)

// Remove removes at most limit things older than before, and returns how many.
type Remove func(ctx context.Context, before time.Time, limit int) (int, error)

// A Sweeper removes one kind of thing.
type Sweeper struct {
	What   string        // for the log
	Keep   time.Duration // how old a thing may become
	Remove Remove
	Log    *slog.Logger

	failing bool
}

// Run sweeps until ctx is done. It logs a series of failures once, and its end.
func (s *Sweeper) Run(ctx context.Context) {
	// Servers that start together must not sweep together.
	for wait := Soonest + rand.N(Latest-Soonest); ; wait = Interval/2 + rand.N(Interval) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		s.sweep(ctx)
	}
}

func (s *Sweeper) sweep(ctx context.Context) {
	total, err := s.all(ctx)
	if ctx.Err() != nil {
		return
	}
	switch {
	case err != nil && !s.failing:
		s.Log.Error("removing old data failed; the next sweep tries again", "what", s.What, "error", err)
	case err == nil && s.failing:
		s.Log.Info("old data is removed again", "what", s.What)
	}
	s.failing = err != nil
	if total > 0 {
		s.Log.Debug("removed old data", "what", s.What, "number", total)
	}
}

// all removes in batches, so that no one waits long for a lock.
func (s *Sweeper) all(ctx context.Context) (int, error) {
	total := 0
	for before := time.Now().Add(-s.Keep); ; {
		batchCtx, cancel := context.WithTimeout(ctx, timeout)
		n, err := s.Remove(batchCtx, before, batch)
		cancel()
		total += n
		if err != nil || n < batch {
			return total, err
		}
	}
}
