// Package reload tests the reload loop from outside: what a developer types,
// edits and sees, with real tools, in containers and without.
package reload

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"e2e/internal/janitor"
)

var edits = flag.Int("edits", 50, "how many edits are made under load")

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) {
	var err error
	cleaner, err = janitor.Main()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(interrupted, func() {
		cleaner.Close()
		os.Exit(1)
	})
	code := m.Run()
	stop()
	if err := cleaner.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// within returns a context that ends early enough for a failure to be told
// before the tests are killed.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	if end, ok := t.Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, end.Add(-30*time.Second))
		t.Cleanup(cancel)
	}
	return ctx
}
