// Package sweep removes what is older than it has to be kept, bit by bit, as
// long as the server runs. Every server does so; the database sees to it that
// they do not get into each other's way.
package sweep

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// Interval is how long after one sweep the next one comes, on average.
	Interval = time.Minute

	batch   = 1000
	timeout = 30 * time.Second // of a batch
)

// Remove removes at most limit things of before a time, and returns how many.
type Remove func(ctx context.Context, before time.Time, limit int) (int, error)

// Sweeper removes one kind of thing.
type Sweeper struct {
	What   string // for the log
	Keep   time.Duration
	Remove Remove
	Log    *slog.Logger

	failing bool
}

// Run sweeps again and again until ctx is done, for the first time after a
// while. A series of failures is logged once, and so is its end.
func (s *Sweeper) Run(ctx context.Context) {
	for {
		// Servers that start together do not sweep together.
		timer := time.NewTimer(Interval/2 + rand.N(Interval))
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
		s.Log.Error("what is too old cannot be removed; it is tried again", "what", s.What, "error", err)
	case err == nil && s.failing:
		s.Log.Info("what is too old is removed again", "what", s.What)
	}
	s.failing = err != nil
	if total > 0 {
		s.Log.Debug("removed what is too old", "what", s.What, "number", total)
	}
}

// all removes batch by batch, so that nobody waits long for one.
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
