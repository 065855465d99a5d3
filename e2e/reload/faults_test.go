package reload

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/load"
	"e2e/harness/loop"
	"e2e/harness/stats"
)

// killAir: the loop starts air again, and only the terminal shows it.
func killAir(t *testing.T, l *loop.Loop) {
	ctx := within(t, 3*time.Minute)
	before := pid(t, l)
	underLoad(t, l, func(running *load.Load) {
		for range 2 {
			from := l.Process.Out.End()
			if err := l.Kill(ctx, airOf(t, ctx, l)); err != nil {
				t.Fatal(err)
			}
			await(t, l, from, regexp.MustCompile(`^air ended: signal: killed; starting it again in `))
			if now := pid(t, l); now != before {
				t.Errorf("pid %d serves, want %d", now, before)
			}
			e := edit(t, l)
			running.Serving(e.N)
			before = pid(t, l)
		}
	})
}

// airOf returns air's process. A child of it is another one of that name until
// it runs its own program.
func airOf(t *testing.T, ctx context.Context, l *loop.Loop) int {
	t.Helper()
	for {
		airs, err := l.Processes(ctx, "air")
		if err != nil {
			t.Fatal(err)
		}
		if len(airs) == 1 {
			return airs[0]
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("air runs as %v, want one process", airs)
		}
	}
}

// killServer: started again at once; connections wait instead of being refused.
func killServer(t *testing.T, l *loop.Loop) {
	ctx := within(t, 3*time.Minute)
	e := edit(t, l)
	before := pid(t, l)
	from := l.Process.Out.End()
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		if err := l.Kill(ctx, before); err != nil {
			t.Error(err)
			return
		}
		await(t, l, from, regexp.MustCompile(fmt.Sprintf(`^the server \(pid %d\) died: signal: killed; starting it again$`, before)))
		await(t, l, from, regexp.MustCompile(`^serving again in [0-9.]+s  \(pid \d+\)$`))
		awaitVersion(t, l, e.N)
	}()
	slowest := noneRefused(t, l, done)
	took := time.Since(began)
	if now := pid(t, l); now == before {
		t.Errorf("pid %d serves, which was killed", now)
	}
	t.Logf("report: %s: a killed server serves again in %s; the slowest request took %s", l.Kind, stats.Seconds(took), stats.Seconds(slowest))
}

// unreadable: a source that cannot be read is a failed build like any other.
func unreadable(t *testing.T, l *loop.Loop) {
	const name = "workspace-server/internal/api/planted.go"
	tests := []struct {
		name string
		make func() error
		want string
	}{
		{
			"no permission",
			func() error {
				if err := l.Checkout.Write(name, "package api\n", checkout.InPlace); err != nil {
					return err
				}
				return os.Chmod(l.Checkout.Path(name), 0)
			},
			`planted\.go: permission denied`,
		},
		{
			"a link to itself",
			func() error {
				return os.Symlink("planted.go", l.Checkout.Path(name))
			},
			`planted\.go.*: too many levels of symbolic links`,
		},
	}
	for _, tt := range tests {
		if l.Kind == loop.Container && tt.name != "no permission" {
			continue // the host has it
		}
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			if tt.name == "no permission" && l.Kind == loop.Host && os.Getuid() == 0 {
				t.Skip("root may read every file: TestContainer tries this as the container's user")
			}
			before := pid(t, l)
			t.Cleanup(func() { os.Remove(l.Checkout.Path(name)) })
			from := l.Process.Out.End()
			if err := tt.make(); err != nil {
				t.Fatal(err)
			}
			// A link to itself is not a file that could be watched: the next build meets it.
			text, err := loop.HealthSource(l.Checkout, l.NextEdit())
			if err != nil {
				t.Fatal(err)
			}
			save(t, l, loop.Health, text, checkout.InPlace)
			await(t, l, from, regexp.MustCompile(fmt.Sprintf(`^build failed in .*\(pid %d\) keeps serving$`, before)))
			await(t, l, from, regexp.MustCompile(tt.want))
			if now := pid(t, l); now != before {
				t.Errorf("%s: pid %d serves, want %d", tt.name, now, before)
			}
			if err := os.Remove(l.Checkout.Path(name)); err != nil {
				t.Fatal(err)
			}
			edit(t, l)
		})
	}
}

// fullDisk: no room for the build's output is a failed build like any other.
func fullDisk(t *testing.T, l *loop.Loop) {
	ctx := within(t, 2*time.Minute)
	const fill = "/workspace/workspace-server/tmp/fill"
	before := pid(t, l)
	from := l.Process.Out.End()
	if _, err := l.Exec(ctx, "sh", "-c", "dd if=/dev/zero of="+fill+" bs=1M 2>/dev/null || true"); err != nil {
		t.Fatal(err)
	}
	text, err := loop.HealthSource(l.Checkout, l.NextEdit())
	if err != nil {
		t.Fatal(err)
	}
	save(t, l, loop.Health, text, checkout.InPlace)
	await(t, l, from, regexp.MustCompile(fmt.Sprintf(`^(build|reload) failed.*\(pid %d\) keeps serving$`, before)))
	await(t, l, from, regexp.MustCompile(`no space left on device`))
	if now := pid(t, l); now != before {
		t.Errorf("pid %d serves, want %d", now, before)
	}
	if _, err := l.Exec(ctx, "rm", fill); err != nil {
		t.Fatal(err)
	}
	edit(t, l)
}

// ownership: what the loop and its user write belongs to the host's user.
func ownership(t *testing.T, l *loop.Loop) {
	ctx := within(t, time.Minute)
	if _, err := l.Exec(ctx, "sh", "-c", "mkdir -p /workspace/planted/deep && echo text >/workspace/planted/deep/file && cp /workspace/Makefile /workspace/planted/"); err != nil {
		t.Fatal(err)
	}
	foreign, err := l.Checkout.Foreign()
	if err != nil {
		t.Fatal(err)
	}
	if len(foreign) > 0 {
		t.Errorf("files of another user than the checkout's: %v", foreign)
	}
	if err := os.RemoveAll(l.Checkout.Path("planted")); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"/home/dev/go", "/home/dev/.cache/go-build", "/workspace/workspace-server/tmp"} {
		if _, err := l.Exec(ctx, "test", "-w", dir); err != nil {
			t.Errorf("%s is not writable for the container's user: %v", dir, err)
		}
	}
}

// insideContainer: what a shell in the container finds.
func insideContainer(t *testing.T, l *loop.Loop) {
	ctx := within(t, 2*time.Minute)
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"id", "-un"}, `^dev\n$`},
		{[]string{"sh", "-c", `test "$(id -u)" != 0 && echo other`}, `^other\n$`},
		{[]string{"sh", "-c", "ps -o args= -p 1"}, `init`},
		{[]string{"git", "-C", "/workspace", "--version"}, `^git version`},
		{[]string{"sh", "-c", "for tool in air dlv gopls staticcheck gofumpt devloop shellcheck; do command -v $tool >/dev/null || echo $tool; done"}, `^$`},
		{[]string{"bash", "-lc", "for tool in go air dlv gopls; do command -v $tool >/dev/null || echo $tool; done"}, `^$`},
		{[]string{"sh", "-c", "cd workspace-server && GOPROXY=off GOFLAGS=-mod=mod go build -tags=nosqlite -o /dev/null ./cmd/workspace-server && git -C /workspace status >/dev/null 2>&1; echo built"}, `^built\n$`},
	}
	for _, tt := range tests {
		got, err := l.Exec(ctx, tt.args...)
		if err != nil || !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%v in the container = %q, %v, want a match of %q", tt.args, got, err, tt.want)
		}
	}
}
