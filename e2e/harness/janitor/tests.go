package janitor

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// Tests runs a package's tests with a janitor, even if they are interrupted
// or killed. It is called by TestMain and does not return.
func Tests(m *testing.M, j **Janitor) {
	var err error
	if *j, err = Main(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	cancelHandler := context.AfterFunc(interrupted, func() {
		fmt.Fprintln(os.Stderr, "interrupted")
		_ = (*j).Close()
		os.Exit(1)
	})
	code := m.Run()
	cancelHandler()
	stop()
	if err := (*j).Close(); err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Within returns a context that ends early enough for the tests to report a
// failure before they are killed.
func Within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	if tt, ok := t.(*testing.T); ok {
		if end, ok := tt.Deadline(); ok {
			ctx, cancel = context.WithDeadline(ctx, end.Add(-30*time.Second))
			t.Cleanup(cancel)
		}
	}
	return ctx
}
