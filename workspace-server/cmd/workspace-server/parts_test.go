package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// What started last stops first, and an error keeps nothing from stopping.
func TestStopList(t *testing.T) {
	var stopped []string
	var stops stopList
	for _, name := range []string{"listener", "database", "polling"} {
		stops.add(func() error {
			stopped = append(stopped, name)
			return errors.New(name + " fails")
		})
	}
	err := stops.stop()
	if want := []string{"polling", "database", "listener"}; !slices.Equal(stopped, want) {
		t.Errorf("stop() stops %q, want %q", stopped, want)
	}
	if err == nil || strings.Count(err.Error(), "fails") != 3 {
		t.Errorf("stop() = %v, want all errors", err)
	}
}

// The stop function of background work returns when all of it has ended.
func TestBackground(t *testing.T) {
	ended := make(chan string, 2)
	run := func(ctx context.Context) { <-ctx.Done(); ended <- "ended" }
	stop := background(t.Context(), run, run)
	if err := stop(); err != nil || len(ended) != 2 {
		t.Errorf("stop() = %v with %d of 2 ended, want both", err, len(ended))
	}
}
