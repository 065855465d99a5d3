package gobuild

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"devloop/internal/process"
	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestOutput(t *testing.T) {
	const missing = "devloop build needs -o FILE among its arguments: the binary that 'devloop run' runs"
	tests := []struct {
		args []string
		want string
		err  string
	}{
		{[]string{"-o", "server"}, "/module/server", ""},
		{[]string{"-o", "tmp/server", "./cmd/server"}, "/module/tmp/server", ""},
		{[]string{"-o=tmp/server"}, "/module/tmp/server", ""},
		{[]string{"--o", "tmp/server"}, "/module/tmp/server", ""},
		{[]string{"--o=tmp/server"}, "/module/tmp/server", ""},
		{[]string{"-o=a=b"}, "/module/a=b", ""},
		{[]string{"-o", "../server"}, "/server", ""},
		{[]string{"-o", "./tmp/../server"}, "/module/server", ""},
		{[]string{"-o", "/tmp/server"}, "/tmp/server", ""},
		{[]string{"-race", "-gcflags=-N -l", "-o", "server", "."}, "/module/server", ""},
		{[]string{"-overlay", "x.json", "-o", "server"}, "/module/server", ""},

		{nil, "", missing},
		{[]string{"./cmd/server"}, "", missing},
		{[]string{"-overlay=x.json", "./o"}, "", missing},
		{[]string{"-race", "-o"}, "", "flag needs an argument: -o"},
		{[]string{"-o="}, "", missing},
		{[]string{"-o", "", "."}, "", missing},
	}
	for _, tt := range tests {
		got, err := Request{Dir: "/module", Args: tt.args}.Output()
		if got != tt.want || text(err) != tt.err {
			t.Errorf("Output(%q) = %q, %v, want %q, %s", tt.args, got, err, tt.want, tt.err)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWithOutput(t *testing.T) {
	tests := []struct{ args, want string }{
		{"-o old", "-o=new -v"},
		{"-o=old .", "-o=new -v ."},
		{"--o=old .", "-o=new -v ."},
		{"-C dir -o old ./cmd", "-C dir -o=new -v ./cmd"},
		{"-race --o old -v .", "-race -o=new -v -v ."},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		before := slices.Clone(args)
		if got := strings.Join(withOutput(args, "new"), " "); got != tt.want {
			t.Errorf("withOutput(%s) = %s, want %s", tt.args, got, tt.want)
		}
		if !slices.Equal(args, before) {
			t.Errorf("withOutput(%s) changed its argument to %q", tt.args, args)
		}
	}
}

func TestLines(t *testing.T) {
	tests := []struct {
		said string
		want []string
	}{
		{"", nil},
		{"\n\r\n", nil},
		{"# server\n./main.go:3:2: undefined: x\n", []string{"./main.go:3:2: undefined: x"}},
		{"# a\na.go:1:1: b\n# b\nb.go:1:1: c\r\n\nno end", []string{"a.go:1:1: b", "b.go:1:1: c", "no end"}},
		{"a.go:1:1: b\n\thave (int)\n", []string{"a.go:1:1: b", "\thave (int)"}},
	}
	for _, tt := range tests {
		if got := Lines(tt.said); !slices.Equal(got, tt.want) {
			t.Errorf("Lines(%q) = %q, want %q", tt.said, got, tt.want)
		}
	}
}

const (
	good  = "package main\n\nfunc main() { println(\"good\") }\n"
	other = "package main\n\nfunc main() { println(\"other\") }\n"
	bad   = "package main\n\nfunc main() { println(missing, absent) }\n"
)

// A module is a small program and the directory that it is built into.
type module struct {
	t       *testing.T
	starter *process.Starter
	dir     string
}

func newModule(t *testing.T) *module {
	m := &module{t, process.NewStarter(), t.TempDir()}
	t.Cleanup(m.starter.Close)
	m.write("go.mod", "module program\n\ngo 1.26\n")
	m.write("main.go", good)
	return m
}

func (m *module) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// run builds into out/program.
func (m *module) run(ctx context.Context, flags ...string) error {
	args := slices.Concat(flags, []string{"-o", "out/program", "."})
	return Run(ctx, m.starter, Request{Dir: m.dir, Args: args, Env: testkit.GoEnv()}, nil)
}

func (m *module) output() string { return filepath.Join(m.dir, "out", "program") }

// says runs the output.
func (m *module) says(want string) {
	m.t.Helper()
	said, err := exec.Command(m.output()).CombinedOutput()
	if got := strings.TrimSpace(string(said)); err != nil || got != want {
		m.t.Errorf("the output says %q, %v, want %q", got, err, want)
	}
}

// holds checks what a build has left beside the output.
func (m *module) holds(want ...string) {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(m.output()))
	if err != nil {
		m.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		m.t.Errorf("the output's directory holds %q, want %q", got, want)
	}
}

func TestRun(t *testing.T) {
	m := newModule(t)
	if err := m.run(t.Context()); err != nil {
		t.Fatalf("Run() = %v", err)
	}
	m.says("good")
	m.holds("program")

	// A process that has the old binary open keeps it whole.
	old, err := os.Stat(m.output())
	if err != nil {
		t.Fatal(err)
	}
	m.write("main.go", other)
	if err := m.run(t.Context()); err != nil {
		t.Fatalf("Run() = %v", err)
	}
	m.says("other")
	m.holds("program")
	if fresh, err := os.Stat(m.output()); err != nil || os.SameFile(old, fresh) {
		t.Errorf("Run wrote to the file that was there (%v), want another in its place", err)
	}
}

func TestCompileError(t *testing.T) {
	m := newModule(t)
	if err := m.run(t.Context()); err != nil {
		t.Fatalf("Run() = %v", err)
	}
	before, err := os.Stat(m.output())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file, source string
		flags              []string
		want               []string
	}{
		{"types", "main.go", bad, nil, []string{"./main.go:3:23: undefined: missing", "./main.go:3:32: undefined: absent"}},
		{"syntax", "main.go", good + "}\n", nil, []string{"./main.go:4:1: syntax error: non-declaration statement outside function body"}},
		{"go.mod", "go.mod", "module program\n\nnonsense\n", nil, []string{"go: errors parsing go.mod:", "go.mod:3: unknown directive: nonsense"}},
		{"flags", "main.go", good, []string{"-nonsense"}, []string{"flag provided but not defined: -nonsense", "usage: go build [-o output] [build flags] [packages]", "Run 'go help build' for details."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.write("go.mod", "module program\n\ngo 1.26\n")
			m.write(tt.file, tt.source)
			err := m.run(t.Context(), tt.flags...)
			compile, ok := errors.AsType[*CompileError](err)
			if !ok || !slices.Equal(compile.Lines, tt.want) {
				t.Errorf("Run(%s) = %T %q, want the lines %q", tt.name, err, text(err), tt.want)
			}
			if got, want := text(err), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("Run(%s) = %q, want %q", tt.name, got, want)
			}
			m.says("good")
			m.holds("program")
			if after, err := os.Stat(m.output()); err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
				t.Errorf("Run(%s) touched the output (%v)", tt.name, err)
			}
		})
	}
}

// TestSilentFailure: a go command that says nothing is still named.
func TestSilentFailure(t *testing.T) {
	m := newModule(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	err := m.run(t.Context())
	if _, ok := errors.AsType[*CompileError](err); !ok || err.Error() != "go build: exit status 3" {
		t.Errorf("Run() = %T %v, want the exit status", err, err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := m.run(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("Run() = %v, want %v", err, exec.ErrNotFound)
	}
	m.holds()
}

func TestNoOutput(t *testing.T) {
	m := newModule(t)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"none", []string{"."}, "devloop build needs -o FILE"},
		{"in a file's place", []string{"-o", "main.go/program", "."}, "make the output's directory: "},
		{"a directory", []string{"-o", "dir", "."}, "put the binary in place: "},
	}
	if err := os.Mkdir(filepath.Join(m.dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		err := Run(t.Context(), m.starter, Request{Dir: m.dir, Args: tt.args, Env: testkit.GoEnv()}, nil)
		if _, compile := errors.AsType[*CompileError](err); compile || !strings.HasPrefix(text(err), tt.want) {
			t.Errorf("Run(%s) = %T %v, want %s...", tt.name, err, err, tt.want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(m.dir, ".build-*")); err != nil || len(left) > 0 {
		t.Errorf("left beside the output: %q, %v", left, err)
	}
}

// TestCancel kills a build that is about to link, and everything below it.
func TestCancel(t *testing.T) {
	testkit.NeedProc(t)
	m := newModule(t)
	if err := m.run(t.Context()); err != nil {
		t.Fatalf("Run() = %v", err)
	}
	m.write("main.go", other)
	gate := testkit.NewGate(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- m.run(ctx, gate.Arg()) }()
	tool, _ := gate.Hold()
	below := testkit.Children(tool)
	if len(below) != 1 {
		t.Fatalf("the tool has the children %v, want one", below)
	}
	why := errors.New("no longer wanted")
	cancel(why)
	if err := testkit.Within(t, "the end of Run", done); !errors.Is(err, why) {
		t.Errorf("Run() = %v, want %v", err, why)
	}
	testkit.Eventually(t, "the end of the tool and its child", func() bool {
		return testkit.Gone(tool) && testkit.Gone(below[0].PID)
	})
	m.says("good")
	m.holds("program")
}

// TestGate makes sure that a build at the gate is none that fails anyway.
func TestGate(t *testing.T) {
	m := newModule(t)
	gate := testkit.NewGate(t)
	done := make(chan error, 1)
	go func() { done <- m.run(t.Context(), gate.Arg()) }()
	_, open := gate.Hold()
	open()
	if err := testkit.Within(t, "the end of Run", done); err != nil {
		t.Errorf("Run() = %v", err)
	}
	m.says("good")
}
