package loop

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// TestMends: a failed state ends when its cause ends, and no one tells the loop.
func TestMends(t *testing.T) {
	t.Parallel()
	const module = "module server\n\ngo 1.26\n"
	shared := "package shared\n\nconst Value = \"2\"\n"
	remove := func(name string) func(h *harness) {
		return func(h *harness) {
			if err := os.RemoveAll(filepath.Join(h.Dir, name)); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name string
		env  []string
		hurt func(h *harness)
		want string // in what the loop prints
		mend func(h *harness)
	}{
		{
			"go.work comes and goes",
			[]string{"GOWORK="},
			func(h *harness) {
				h.put("/go.work", "go 1.26\n\nuse ./elsewhere\n")
				h.put("/elsewhere/go.mod", "module elsewhere\n")
			},
			"build failed", func(h *harness) {
				h.put(versionFile, version("2", ""))
				remove("../go.work")(h)
			},
		},
		{
			"vendor is not written yet",
			nil,
			func(h *harness) {
				h.put("go.mod", module+"\nrequire example.com/shared v1.0.0\n")
				h.put("vendor/modules.txt", "# example.com/other v1.0.0\n")
				h.put(versionFile, imports(`"example.com/shared"`, "shared.Value"))
			},
			"build failed", func(h *harness) {
				h.put("vendor/example.com/shared/a.go", shared)
				h.put("vendor/modules.txt", "# example.com/shared v1.0.0\n## explicit; go 1.26\nexample.com/shared\n")
			},
		},
		{
			"a replaced module is missing",
			nil,
			func(h *harness) {
				h.put("go.mod", module+"\nrequire shared v0.0.0\n\nreplace shared => ../shared\n")
				h.put(versionFile, imports(`"shared"`, "shared.Value"))
			},
			"build failed", func(h *harness) {
				h.put("/shared/a.go", shared)
				h.put("/shared/go.mod", "module shared\n\ngo 1.26\n")
			},
		},
		{
			"an imported package is missing",
			nil,
			func(h *harness) { h.put(versionFile, imports(`"server/late/deep"`, "shared.Value")) },
			"build failed", func(h *harness) { h.put("late/deep/a.go", shared) },
		},
		{
			"an embedded file is missing",
			nil,
			func(h *harness) {
				h.put(versionFile, imports(`_ "embed"`, "text\n\n\t//go:embed data/version.json\n\ttext string"))
			},
			"no matching files found", func(h *harness) { h.put("data/version.json", "2") },
		},
		{
			"no directory for the output",
			nil,
			func(h *harness) {
				remove("tmp")(h)
				h.put("tmp", "a file")
				h.put(versionFile, version("2", ""))
			},
			"make the output's directory", remove("tmp"),
		},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			h := startIn(t, filepath.Join(t.TempDir(), "server"))
			h.asks(0, tt.env...)
			h.Run(h.command)
			h.serves("1")
			h.rests()
			h.swept()
			tt.hurt(h)
			testkit.Eventually(t, tt.want, func() bool { return strings.Contains(h.printed.String(), tt.want) })
			h.serves("1")
			tt.mend(h)
			h.answers("2")
			if n := strings.Count(h.printed.String(), tt.want); n > 2 {
				t.Errorf("the same failure was printed %d times:\n%s", n, strings.Join(h.printed.lines(), "\n"))
			}
		})
	}
}

// TestFullDisk builds where the output has no room, until it has.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.serving()
	h.swept()
	// What the go command says of a full disk, by a command that says it.
	full := filepath.Join(t.TempDir(), "full")
	if err := os.WriteFile(full, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(t.TempDir(), "tool")
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in *link) [ ! -e %[1]s ] || { printf x >>%[1]s; echo 'write '$GOTMPDIR'/a.out: no space left on device' >&2; exit 1; };; esac\nexec \"$@\"\n", full)
	if err := os.WriteFile(tool, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	h.write(version("2", ""))
	if got := h.Build(h.request("-toolexec=" + tool)); got != 1 {
		t.Fatalf("Build() = %d, want 1", got)
	}
	testkit.Eventually(t, "another try", func() bool {
		tries, _ := os.ReadFile(full)
		return len(tries) > 2
	})
	if n := strings.Count(h.printed.String(), "build failed"); n != 1 {
		t.Errorf("the failure was printed %d times, want once", n)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	h.answers("2")
}

// TestVanishedOutput: an emptied tmp directory is no reason for a line.
func TestVanishedOutput(t *testing.T) {
	t.Parallel()
	h := start(t)
	pid := h.serving()
	if err := os.RemoveAll(filepath.Dir(h.command.Path)); err != nil {
		t.Fatal(err)
	}
	h.Run(h.command)
	if got := h.serves("1"); got != pid {
		t.Errorf("pid %d serves, want %d", got, pid)
	}
	if err := os.RemoveAll(filepath.Dir(h.command.Path)); err != nil {
		t.Fatal(err)
	}
	h.build(0)
	h.prints()
	if _, err := os.Stat(h.command.Path); err != nil {
		t.Errorf("after a build: %v, want the binary", err)
	}
	h.write(bad)
	h.build(1)
	if err := os.RemoveAll(filepath.Dir(h.command.Path)); err != nil {
		t.Fatal(err)
	}
	h.Run(h.command) // as air does after a failed build
	h.prints(`build failed in .*`, `  version\.go:3:26: .*`, `  version\.go:3:35: .*`)
}

// TestTruncated: an editor truncates a file, and writes it later.
func TestTruncated(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.serving()
	h.swept()
	for i, text := range []string{version("2", ""), version("3", "")} {
		h.put(versionFile, "")
		var code <-chan int
		if i == 0 {
			code = h.background() // air's events of the truncation
		}
		<-time.After(300 * time.Millisecond) // the editor's pause
		h.put(versionFile, text)
		if code != nil {
			testkit.Within(t, "the end of Build", code)
		}
		h.answers(fmt.Sprint(i + 2))
	}
	h.prints(reloaded+edited, reloaded+edited)
	// A file that stays empty is the user's.
	h.put(versionFile, "")
	h.build(1)
	h.prints(`build failed in .*`, `  version\.go:1:1: expected 'package', found 'EOF'`)
}

// TestRaceNeedsCgo: -race works although air's command has cgo off.
func TestRaceNeedsCgo(t *testing.T) {
	t.Parallel()
	h := start(t)
	entries, err := filepath.Glob(filepath.Join(h.Dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Remove(e); err != nil {
			t.Fatal(err)
		}
	}
	h.put("main.go", "package main\n\nfunc main() {}\n") // the race detector of all that the server needs takes a minute
	r := h.request()
	r.Env = append(r.Env, "GOFLAGS=-race -buildvcs=false", "CGO_ENABLED=0")
	build := func() {
		t.Helper()
		if got := h.Build(r); got != 0 {
			t.Fatalf("Build() = %d, want 0; printed were:\n%s", got, strings.Join(h.printed.lines(), "\n"))
		}
	}
	build()
	h.prints(`-race: building with cgo; the program takes 2 to 20 times the time, and 5 to 10 times the memory`)
	h.rests()
	h.put("main.go", "package main\n\nfunc main() { println() }\n")
	build()
	h.prints() // it is said once
	info, err := buildinfo.ReadFile(h.command.Path)
	if err != nil || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Errorf("the binary was built with %v, %v; want -race", info, err)
	}
}

// TestSomeoneWins saves more often than a build takes.
func TestSomeoneWins(t *testing.T) {
	t.Parallel()
	testkit.NeedProc(t)
	h := start(t)
	h.serving()
	var codes []<-chan int
	var open func()
	for v := 2; v <= 4; v++ {
		h.write(version(fmt.Sprint(v), ""))
		gate := testkit.NewGate(t)
		codes = append(codes, h.background(gate.Arg()))
		_, open = gate.Hold()
		// A build that has run for less than that is part of a burst of saves.
		testkit.Eventually(t, "a build that has run for a while", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return time.Since(h.cycle.began) > burst
		})
	}
	h.write(version("5", ""))
	codes = append(codes, h.background())
	testkit.Eventually(t, "the newest build to be asked for", func() bool { return h.newer() })
	open()
	for _, code := range codes {
		if got := testkit.Within(t, "the end of a Build", code); got != 0 {
			t.Errorf("Build() = %d, want 0", got)
		}
	}
	h.prints(reloaded+edited+"; a newer edit follows", reloaded+edited)
	h.serves("5")
}

// TestCloseWhileOneIsLetThrough ends everything at once.
func TestCloseWhileOneIsLetThrough(t *testing.T) {
	t.Parallel()
	testkit.NeedProc(t)
	h := start(t)
	h.serving()
	h.mu.Lock()
	h.overtaken = most
	h.mu.Unlock()
	h.write(version("2", ""))
	gate := testkit.NewGate(t)
	first := h.background(gate.Arg())
	gate.Hold()
	h.write(version("3", ""))
	second := h.background()
	testkit.Eventually(t, "the newest build to be asked for", func() bool { return h.newer() })
	h.Close()
	testkit.Within(t, "the end of the first Build", first)
	testkit.Within(t, "the end of the second Build", second)
	h.serves("1")
}

// TestProgress shows a build that runs long.
func TestProgress(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.serving()
	h.write(version("2", ""))
	gate := testkit.NewGate(t)
	code := h.background(gate.Arg())
	_, open := gate.Hold()
	testkit.Eventually(t, "a line about the build", func() bool {
		return strings.Contains(h.printed.String(), "building for ")
	})
	open()
	testkit.Within(t, "the end of Build", code)
	h.prints(reloaded + edited)
}
