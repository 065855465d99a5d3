package editor

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type task struct {
	Label, Type, Command string
	Args                 []string
	IsBackground         bool
	DependsOn            []string
	Options              struct{ Cwd string }
	ProblemMatcher       matcher
}

type matcher struct {
	FileLocation []string
	Pattern      struct {
		Regexp                      string
		File, Line, Column, Message int
	}
	Background *struct {
		ActiveOnStart              bool
		BeginsPattern, EndsPattern string
	}
}

// UnmarshalJSON reads a matcher, or none from an empty list.
func (m *matcher) UnmarshalJSON(b []byte) error {
	type plain matcher
	if string(b) == "[]" {
		return nil
	}
	return json.Unmarshal(b, (*plain)(m))
}

func readTasks(t *testing.T) map[string]task {
	t.Helper()
	var file struct{ Tasks []task }
	decode(t, ".vscode/tasks.json", &file)
	named := map[string]task{}
	for _, task := range file.Tasks {
		named[task.Label] = task
	}
	return named
}

func TestTasks(t *testing.T) {
	tasks := readTasks(t)
	for _, label := range []string{"dev", "test", "test this package", "rebuild"} {
		if _, ok := tasks[label]; !ok {
			t.Errorf("tasks.json has no %q", label)
		}
	}
	makefile := read(t, "Makefile")
	for label, task := range tasks {
		switch target, ok := strings.CutPrefix(task.Command, "make "); {
		case ok && !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(target)+`:`).MatchString(makefile):
			t.Errorf("%s: the Makefile has no target %q", label, target)
		case strings.HasPrefix(task.Command, "scripts/attach "):
			// TestAttach runs it.
		case len(task.DependsOn) > 0:
			for _, other := range task.DependsOn {
				if _, ok := tasks[other]; !ok {
					t.Errorf("%s: depends on %q, which is no task", label, other)
				}
			}
		case !ok && task.Command != "go":
			t.Errorf("%s: runs %q, want make, scripts/attach or go", label, task.Command)
		}
		if cwd := resolve(t, task.Options.Cwd); cwd != "" {
			if info, err := os.Stat(cwd); err != nil || !info.IsDir() {
				t.Errorf("%s: cwd %s: %v", label, cwd, err)
			}
		}
		if task.IsBackground != (task.ProblemMatcher.Background != nil) {
			t.Errorf("%s: isBackground is %v, want it with a background matcher and only then", label, task.IsBackground)
		}
	}
}

// A problem is what an editor shows.
type problem struct {
	File         string
	Line, Column int
	Message      string
}

// problems does what an editor does with the lines that a task prints.
func problems(t *testing.T, task task, dir, open, output string) []problem {
	t.Helper()
	m := task.ProblemMatcher
	re := regexp.MustCompile(m.Pattern.Regexp)
	if len(m.FileLocation) != 2 || m.FileLocation[0] != "relative" {
		t.Fatalf("%s: fileLocation is %q, want a directory that paths are relative to", task.Label, m.FileLocation)
	}
	base := strings.NewReplacer("${workspaceFolder}", dir, "${fileDirname}", filepath.Join(dir, open)).Replace(m.FileLocation[1])
	var found []problem
	for line := range strings.Lines(output) {
		groups := re.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if groups == nil {
			continue
		}
		p := problem{File: groups[m.Pattern.File], Message: groups[m.Pattern.Message]}
		p.Line, _ = strconv.Atoi(groups[m.Pattern.Line])
		p.Column, _ = strconv.Atoi(groups[m.Pattern.Column])
		// Below the base an absolute path names nothing, as in an editor.
		p.File = filepath.Join(base, p.File)
		if _, err := os.Stat(p.File); err != nil {
			t.Errorf("%s: line %q leads to %s, which is not there", task.Label, line, p.File)
		}
		p.File, _ = filepath.Rel(dir, p.File)
		found = append(found, p)
	}
	return found
}

// broken are packages of a nested module that fail in every way that has a place.
var broken = map[string]string{
	"devloop/go.mod":                "module nested\n\ngo 1.24\n",
	"devloop/sub/fails_test.go":     "package sub\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {\n\tt.Run(\"case\", func(t *testing.T) { t.Error(\"got 1, want 2\") })\n}\n",
	"devloop/compile/x.go":          "package compile\n\nfunc f() { undefinedName() }\n",
	"devloop/compile/x_test.go":     "package compile\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n",
	"devloop/vet/x_test.go":         "package vet\n\nimport (\n\t\"fmt\"\n\t\"testing\"\n)\n\nfunc TestA(t *testing.T) { fmt.Printf(\"%d\", \"x\") }\n",
	"devloop/passes/passes_test.go": "package passes\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Log(\"passes_test.go:1: no problem\") }\n",
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMatchers tries the problem matchers on what the tasks print for the packages
// above.
func TestMatchers(t *testing.T) {
	tasks := readTasks(t)
	dir := t.TempDir()
	write(t, dir, broken)
	compile := problem{"devloop/compile/x.go", 3, 12, "undefined: undefinedName"}
	fails := problem{"devloop/sub/fails_test.go", 6, 0, "got 1, want 2"}
	vet := problem{"devloop/vet/x_test.go", 8, 40, `fmt.Printf format %d has arg "x" of wrong type string`}
	tests := []struct {
		task, open, output string
		want               []problem
	}{
		{"test", "devloop/passes", makeTest(t, dir), []problem{compile, fails, vet}},
		{"test this package", "devloop/compile", goTest(t, dir, "devloop/compile"), []problem{compile}},
		{"test this package", "devloop/sub", goTest(t, dir, "devloop/sub"), []problem{fails}},
		{"test this package", "devloop/vet", goTest(t, dir, "devloop/vet"), []problem{vet}},
		{"test this package", "devloop/passes", goTest(t, dir, "devloop/passes"), nil},
	}
	for _, tt := range tests {
		got := problems(t, tasks[tt.task], dir, tt.open, tt.output)
		slices.SortFunc(got, func(a, b problem) int { return strings.Compare(a.File, b.File) })
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q with a file of %s open finds %+v\nwant %+v\nin\n%s", tt.task, tt.open, got, tt.want, tt.output)
		}
	}
}

func recorded(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// makeTest returns what "make test" prints for devloop.
func makeTest(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "runtests")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./runtests")
	build.Dir = filepath.Join(root(t), "tools")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	cmd := exec.Command(program, "-only", "devloop")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the race detector has no say here
	out, _ := cmd.CombinedOutput()                  // it must fail
	return string(out)
}

// goTest returns what "go test ." prints in a package.
func goTest(t *testing.T, dir, pkg string) string {
	t.Helper()
	cmd := exec.Command("go", "test", ".")
	cmd.Dir = filepath.Join(dir, pkg)
	out, _ := cmd.CombinedOutput() // it must fail
	return string(out)
}

// TestBackground: an editor that waits for a task until the loop serves waits no
// longer, and not less.
func TestBackground(t *testing.T) {
	for _, label := range []string{"dev", "rebuild"} {
		background := readTasks(t)[label].ProblemMatcher.Background
		begins, ends := regexp.MustCompile(background.BeginsPattern), regexp.MustCompile(background.EndsPattern)
		for _, name := range []string{"dev-first.txt", "dev-again.txt", "dev-inside.txt", "dev-host.txt"} {
			active, ended := background.ActiveOnStart, 0
			lines := strings.Split(strings.TrimSuffix(recorded(t, name), "\n"), "\n")
			for i, line := range lines {
				switch {
				case begins.MatchString(line):
					active = true
				case active && ends.MatchString(line):
					active = false
					ended = i + 1
				}
			}
			if active || ended != len(lines) {
				t.Errorf("%s: with %s the task is ready after line %d (0: never), want after the last, %d", label, name, ended, len(lines))
			}
		}
	}
}
