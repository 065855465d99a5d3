package loop

import (
	"context"
	"testing"

	"e2e/harness/janitor"
	"e2e/harness/terminal"
)

// ForTest prepares a loop, see New, that is closed when the test ends. If the
// test failed, it logs what the loop printed.
func ForTest(ctx context.Context, t *testing.T, j *janitor.Janitor, kind Kind, env ...string) *Loop {
	t.Helper()
	l, err := New(ctx, j, kind, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && l.Process != nil {
			t.Logf("the end of what the loop printed:\n%s", terminal.Format(l.Process.Out.Since(0)))
		}
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return l
}
