package doors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/loop"
	"e2e/harness/postgres"
	"e2e/harness/stats"
	"e2e/harness/terminal"
)

// eventless mounts the checkout as the lower layer of an overlay: a change below
// is seen through it, but no event reports it (kernel.org, overlayfs: "Changes
// to underlying filesystems").
const eventless = `services:
  platform:
    volumes:
      - eventless:/workspace
volumes:
  eventless:
    driver: local
    driver_opts:
      type: overlay
      device: overlay
      o: lowerdir=%s:%s
`

// TestNoEvents: where a mount sends no file events the loop polls the sources, and
// says so once.
func TestNoEvents(t *testing.T) {
	engine.Need(t)
	t.Parallel()
	ctx := within(t, 28*time.Minute)
	l, err := loop.New(ctx, cleaner, loop.Container)
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	override := filepath.Join(t.TempDir(), "eventless.yml")
	if err := os.WriteFile(override, fmt.Appendf(nil, eventless, l.Checkout.Dir, empty), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := supported(ctx, l.Checkout.Dir, empty, l.Project); err != nil {
		t.Skipf("needs volumes of overlays: %v", err)
	}
	options := command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run}
	compose := []string{"docker", "compose", "-f", "docker-compose.yml", "-f", "docker-compose.dev.yml", "-f", override, "--progress", "quiet"}
	if code, out, err := command.Run(ctx, options, append(compose, "build", "platform")...); err != nil || code != 0 {
		t.Fatalf("build: exit code %d, %v: %s", code, err, out)
	}
	if l.Process, err = command.Start(options, append(compose, "up", "--no-build", "--no-log-prefix", "--attach", "platform")...); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Process.Out.Wait(ctx, 0, loop.Serving); err != nil {
		t.Fatal(err)
	}
	notice := regexp.MustCompile(`^air missed this edit .* polling the sources from now on$`)
	var took []time.Duration
	for edits := 0; edits < 4 || edits < 20 && l.Process.Out.Count(0, notice) == 0; edits++ {
		// The loop is sure that no event came only of what it has seen at rest before.
		<-time.After(time.Second)
		// Through an overlay only what is saved in place can be seen.
		n := l.NextEdit()
		text, err := loop.HealthSource(l.Checkout, n)
		if err != nil {
			t.Fatal(err)
		}
		from, began := l.Process.Out.End(), time.Now()
		if err := l.Checkout.Write(loop.Health, text, checkout.InPlace); err != nil {
			t.Fatal(err)
		}
		e, err := l.Await(ctx, n, began, from)
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, e.Took)
	}
	t.Logf("report: without events, edit to serving: %v", stats.Of(took))
	if n := l.Process.Out.Count(0, notice); n != 1 {
		t.Errorf("%d lines say that no events come, want 1:\n%s", n, terminal.Format(l.Process.Out.Since(0)))
	}
}

// supported reports why the engine cannot mount such a volume.
func supported(ctx context.Context, lower, empty, project string) error {
	out, err := engine.Docker(ctx, "volume", "create", "--label", "com.docker.compose.project="+project,
		"--driver", "local", "--opt", "type=overlay", "--opt", "device=overlay", "--opt", "o=lowerdir="+lower+":"+empty)
	if err != nil {
		return err
	}
	_, err = engine.Docker(ctx, "run", "--rm", "--volume", strings.TrimSpace(out)+":/probe:ro", "--entrypoint", "test", postgres.Image, "-e", "/probe/Makefile")
	return err
}
