package loop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

// swept starts Sweep, which ends with the test.
func (h *harness) swept() {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Sweep(ctx)
	}()
	h.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// put writes a file, its directories included; "/" begins in the directory above
// the module.
func (h *harness) put(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.Dir, name)
	if rest, ok := strings.CutPrefix(name, "/"); ok {
		path = filepath.Join(filepath.Dir(h.Dir), rest)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// answers waits until a version serves, and the loop is at rest.
func (h *harness) answers(version string) {
	h.t.Helper()
	testkit.Eventually(h.t, "version "+version, func() bool {
		got, err := testkit.Ask(h.address)
		return err == nil && got.Version == version
	})
	h.rests()
}

// rests waits until the loop knows which files the build reads.
func (h *harness) rests() {
	h.t.Helper()
	testkit.Eventually(h.t, "the end of what the loop does", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.cycle.ended() && h.listing == nil
	})
}

// asks is a Build with these variables.
func (h *harness) asks(want int, env ...string) {
	h.t.Helper()
	r := h.request()
	r.Env = append(r.Env, env...)
	if got := h.Build(r); got != want {
		h.t.Fatalf("Build() = %d, want %d; printed were:\n%s", got, want, strings.Join(h.printed.lines(), "\n"))
	}
	h.rests()
}

// imports is a version file that takes the version from elsewhere.
func imports(path, expression string) string {
	return fmt.Sprintf("package main\n\nimport %s\n\nvar (\n\tversion = %s\n\tbehaviour = \"\"\n)\n", path, expression)
}

// An input is something that a build reads.
type input struct {
	name  string
	env   []string
	files map[string]string // what a program needs that reads it
	begin func(h *harness)
	edits []func(h *harness) // the first makes version "2", and so on
}

func put(name, text string) func(*harness) {
	return func(h *harness) { h.put(name, text) }
}

// assembly returns a function in assembly that returns n.
func assembly(n int) string {
	if runtime.GOARCH == "arm64" {
		return fmt.Sprintf("TEXT ·number(SB), 4, $0-8\n\tMOVD $%d, R0\n\tMOVD R0, ret+0(FP)\n\tRET\n", n)
	}
	return fmt.Sprintf("TEXT ·number(SB), 4, $0-8\n\tMOVQ $%d, ret+0(FP)\n\tRET\n", n)
}

func inputs() []input {
	const module = "module server\n\ngo 1.26\n"
	value := func(n int) string { return fmt.Sprintf("package shared\n\nconst Value = %q\n", fmt.Sprint(n)) }
	counted := "package main\n\nimport (\n\t\"embed\"\n\t\"fmt\"\n)\n\n//go:embed %s\nvar texts embed.FS\n\nvar entries, _ = texts.ReadDir(\"text\")\n\nvar (\n\tversion = fmt.Sprint(len(entries))\n\tbehaviour = \"\"\n)\n"
	return []input{
		{
			name:  "an embedded file",
			files: map[string]string{versionFile: imports(`_ "embed"`, "text\n\n\t//go:embed data/version.json\n\ttext string"), "data/version.json": "1"},
			edits: []func(*harness){put("data/version.json", "2"), put("data/version.json", "3")},
		},
		{
			name:  "a file that an embed pattern matches",
			files: map[string]string{versionFile: fmt.Sprintf(counted, "text/*.txt"), "text/a.txt": ""},
			edits: []func(*harness){put("text/b.txt", "b"), put("text/c.txt", "c")},
		},
		{
			name:  "a file in an embedded directory",
			files: map[string]string{versionFile: fmt.Sprintf(counted, "all:text"), "text/a": "a"},
			edits: []func(*harness){put("text/.b", "b"), put("text/_c", "c")},
		},
		{
			name:  "assembly",
			files: map[string]string{versionFile: imports(`"fmt"`, "fmt.Sprint(number())"), "number.go": "package main\n\nfunc number() int64\n", "number_" + runtime.GOARCH + ".s": assembly(1)},
			edits: []func(*harness){put("number_"+runtime.GOARCH+".s", assembly(2))},
		},
		{
			name:  "C",
			env:   []string{"CGO_ENABLED=1"},
			files: map[string]string{versionFile: "package main\n\n// #include \"number.h\"\nimport \"C\"\n\nimport \"fmt\"\n\nvar (\n\tversion = fmt.Sprint(C.number() + C.zero)\n\tbehaviour = \"\"\n)\n", "number.h": "int number(void);\n#define zero 0\n", "number.c": "int number(void) { return 1; }\n"},
			edits: []func(*harness){put("number.c", "int number(void) { return 2; }\n"), put("number.h", "int number(void);\n#define zero 1\n")},
		},
		{
			name: "another module by a replace directive",
			files: map[string]string{
				"go.mod":          module + "\nrequire shared v0.0.0\n\nreplace shared => ../shared\n",
				"/shared/go.mod":  "module shared\n\ngo 1.26\n",
				"/shared/a.go":    value(1),
				versionFile:       imports(`"shared"`, "shared.Value"),
				"/shared/other/a": "",
			},
			edits: []func(*harness){put("/shared/a.go", value(2)), func(h *harness) {
				h.put("/shared/a.go", "package shared\n")
				h.put("/shared/b.go", value(3))
			}},
		},
		{
			name: "another module by go.work",
			env:  []string{"GOWORK="},
			files: map[string]string{
				"/go.work":       "go 1.26\n\nuse (\n\t./server\n\t./shared\n)\n",
				"/shared/go.mod": "module example.com/shared\n\ngo 1.26\n",
				"/shared/a.go":   value(1),
				versionFile:      imports(`"example.com/shared"`, "shared.Value"),
			},
			edits: []func(*harness){put("/shared/a.go", value(2))},
		},
		{
			name:  "a symlinked directory",
			files: map[string]string{"/elsewhere/a.go": value(1), versionFile: imports(`"server/linked"`, "shared.Value")},
			begin: func(h *harness) {
				if err := os.Symlink("../elsewhere", filepath.Join(h.Dir, "linked")); err != nil {
					h.t.Fatal(err)
				}
			},
			edits: []func(*harness){put("/elsewhere/a.go", value(2))},
		},
		{
			name: "a vendored package",
			files: map[string]string{
				"go.mod":                         module + "\nrequire example.com/shared v1.0.0\n",
				"vendor/modules.txt":             "# example.com/shared v1.0.0\n## explicit; go 1.26\nexample.com/shared\n",
				"vendor/example.com/shared/a.go": value(1),
				versionFile:                      imports(`"example.com/shared"`, "shared.Value"),
			},
			edits: []func(*harness){put("vendor/example.com/shared/a.go", value(2))},
		},
		{
			name:  "go env -w",
			env:   []string{"GOFLAGS=", "GOENV=TMP/goenv"},
			files: map[string]string{"version.go": "//go:build !two\n\n" + version("1", ""), "two.go": "//go:build two\n\n" + version("2", "")},
			edits: []func(*harness){put("/goenv", "GOFLAGS=-tags=two\n"), put("two.go", "//go:build two\n\n"+version("3", ""))},
		},
		{
			name: "a package that comes later",
			edits: []func(*harness){func(h *harness) {
				h.put("late/a.go", value(2))
				h.put(versionFile, imports(`"server/late"`, "shared.Value"))
			}, put("late/a.go", value(3))},
		},
	}
}

// TestInputs edits what a build reads, and tells no one.
func TestInputs(t *testing.T) {
	t.Parallel()
	for _, in := range inputs() {
		t.Run(strings.ReplaceAll(in.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			h := startIn(t, filepath.Join(t.TempDir(), "server"))
			for name, text := range in.files {
				h.put(name, text)
			}
			if in.begin != nil {
				in.begin(h)
			}
			var env []string
			for _, v := range in.env {
				env = append(env, strings.ReplaceAll(v, "TMP", filepath.Dir(h.Dir)))
			}
			h.asks(0, env...)
			h.Run(h.command)
			h.rests()
			h.serves("1")
			h.swept()
			for i, edit := range in.edits {
				edit(h)
				h.answers(fmt.Sprint(i + 2))
			}
			pid := h.Status().PID

			// Nothing but what the build reads: neither a look nor air starts one.
			before := h.latest()
			for _, name := range []string{"other/a.go", "version_test.go", "README.md", "cmd/other/main.go", "data/unread.json", "/shared/other/a", "/elsewhere.go"} {
				h.put(name, "package other\n\nthis does not compile\n")
			}
			h.asks(0, env...)
			if _, changes := h.missed(); len(changes) > 0 || h.latest() != before || h.Status().PID != pid {
				t.Errorf("edits outside of the set: missed() = %v, another cycle %t, pid %d before and %d after", changes, h.latest() != before, pid, h.Status().PID)
			}
			if lines := h.printed.lines(); slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "failed") || strings.HasPrefix(s, "air") }) {
				t.Errorf("the loop printed\n%s\nwant no failure", strings.Join(lines, "\n"))
			}
		})
	}
}
