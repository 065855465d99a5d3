package hotbuild

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// part is a package with all that an edit could get wrong.
const part = `package part

import "fmt"

const Limit = 1

type T struct {
	A int ` + "`json:\"a\"`" + `
}

func (t *T) Set(n, m int) { t.A = n * m }

func (t T) hidden() int { return t.A }

var kept *T

func Keep(p *T) int {
	x := p.A
	return x
}

func Each[E any](list []E) int {
	n := 0
	for range list {
		n++
	}
	return n
}

func Text() string { return fmt.Sprint(Limit, kept) }

func Moved() string { return "moved" }
`

const partUser = `package main

import (
	"encoding/json"
	"fmt"
	"reflect"

	"m/part"
)

type outer struct{ *part.T }

type setter interface{ Set(n, m int) }

func main() {
	var s setter = outer{new(part.T)}
	s.Set(2, 3)
	t := part.T{A: 4}
	text, _ := json.Marshal(t)
	fmt.Println(part.Limit, part.Keep(&t), part.Each([]int{1}), string(text), reflect.TypeFor[part.T]().NumMethod(), part.Text(), part.Moved())
}
`

// TestPitfalls makes one edit after the other, each undone before the next.
func TestPitfalls(t *testing.T) {
	long(t)
	all := []string{"m/part", "m"}
	tests := []struct {
		name     string
		old, new string
		compiled []string
	}{
		{"lines above all", "const Limit", "// Limit\n// limits.\nconst Limit", all}, // for the generic body
		{"lines in the last function", `return "moved"`, "\n\treturn \"moved\"", all[:1]},
		{"a constant's value", "Limit = 1", "Limit = 2", all},
		{"a tag", `json:"a"`, `json:"b"`, all},
		{"an unexported method of an exported type", "func (t T) hidden", "func (t T) other() {}\n\nfunc (t T) hidden", all},
		{"a parameter that escapes", "x := p.A", "kept, p.A = p, p.A+1\n\tx := p.A", all},
		{"a generic body", "n := 0", "n := 10", all},
		{"a package variable", "var kept *T", "var early, kept = fmt.Sprint(), (*T)(nil)", all},
		{"the order of initialisation", "var kept *T", "var kept = second()\n\nvar first = &T{A: 5}\n\nfunc second() *T { return first }", all},
	}
	m := newModule(t, map[string]string{"main.go": partUser, "part/part.go": part})
	m.learn()
	m.hot()
	m.says("1 4 1 {\"a\":4} 0 1 <nil> moved")
	for _, tt := range tests {
		if !strings.Contains(part, tt.old) {
			t.Fatalf("the package has no %q", tt.old)
		}
		m.write("part/part.go", part)
		if _, err := m.builder.Build(t.Context(), m.request("hot"), Serving); err != nil {
			t.Fatalf("before %s Build() = %v", tt.name, err)
		}
		m.write("part/part.go", strings.Replace(part, tt.old, tt.new, 1))
		got, err := m.builder.Build(t.Context(), m.request("hot"), Debugging)
		if err != nil || !slices.Equal(got.Compiled, tt.compiled) {
			t.Errorf("after %s Build() = %q, %v, want %q", tt.name, got.Compiled, err, tt.compiled)
		}
		m.truth()
		if difference := compare(t, m.path("out/hot"), m.path("out/true")); difference != "" {
			t.Errorf("after %s the program is not that of go build: %s", tt.name, difference)
		}
	}
}

// TestWrapper moves a promoted method: the compiler's wrapper of it in another
// package notes the line, for debuggers alone.
func TestWrapper(t *testing.T) {
	long(t)
	const wrapping = `package main

import "m/part"

type outer struct {
	n int
	*part.T
}

func call(s interface{ Set(n, m int) }) { s.Set(2, 3) }

func main() { call(outer{1, new(part.T)}) }
`
	const plain = "package part\n\ntype T struct{ A int }\n\nfunc (t *T) Set(n, m int) { t.A = n * m }\n"
	m := newModule(t, map[string]string{
		"main.go":      wrapping,
		"part/part.go": plain,
	})
	m.learn()
	m.edit("part/part.go", "type T", "// T\n// moves.\ntype T")
	m.hot("m/part")
	m.same()
	if data := func(name string) []byte { return section(t, m.path(name), ".debug_info") }; bytes.Equal(data("out/hot"), data("out/true")) {
		t.Error("the wrapper does not note the line: compare all that debuggers read, and say so in package exportdata")
	}
}

// section returns the contents of a program's section.
func section(t *testing.T, program, name string) []byte {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := f.Section(name).Data()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestMovedMethod moves a method from one file to another.
func TestMovedMethod(t *testing.T) {
	long(t)
	const method = "func (t T) hidden() int { return t.A }\n"
	m := newModule(t, map[string]string{"main.go": partUser, "part/part.go": part, "part/a.go": "package part\n"})
	m.learn()
	m.edit("part/part.go", method, "")
	m.write("part/a.go", "package part\n\n"+method)
	if _, err := m.builder.Build(t.Context(), m.request("hot"), Debugging); err != nil {
		t.Fatalf("Build() = %v", err)
	}
	m.same()
}

// TestEmbedded edits what go:embed directives find.
func TestEmbedded(t *testing.T) {
	m := newModule(t, map[string]string{
		"main.go":      "package main\n\nimport \"m/data\"\n\nfunc main() { println(data.Text) }\n",
		"data/data.go": "package data\n\nimport \"embed\"\n\n//go:embed text\nvar Text string\n\n//go:embed more\nvar More embed.FS\n",
		"data/text":    "one",
		"data/more/a":  "a",
	})
	m.learn()
	m.write("data/text", "two")
	m.hot("m/data")
	m.says("two")
	m.same()
	m.write("data/more/.hidden", "not embedded")
	m.write("data/other", "not embedded")
	m.hot()
	m.write("data/more/b/c", "embedded")
	m.refused("files changed")
	m.learn()
	m.hot()
	m.same()
	m.remove("data/more/a")
	m.refused("files changed")
}

// TestRefusals: what is more than an edit inside of known files is for go build.
func TestRefusals(t *testing.T) {
	files := small()
	files["greeting/other_os.go"] = "//go:build !linux\n\npackage greeting\n"
	m := newModule(t, files)
	m.refused("not ready")
	m.learn()
	m.hot()
	tests := []struct{ reason, file, old, new string }{
		{"files changed", "greeting/new.go", "", "package greeting\n"},
		{"files changed", "greeting/end.go", "func End() {}\n", ""},
		{"files changed", "greeting/x_amd64.s", "", "// Nothing.\n"},
		{"files changed", "default.pgo", "", "a profile"},
		{"package changed", "greeting/end.go", "package greeting", "package other"},
		{"imports changed", "greeting/end.go", "package greeting\n", "package greeting\n\nimport _ \"os\"\n"},
		{"constraints changed", "greeting/other_os.go", "!linux", "linux"},
		{"directives changed", "greeting/end.go", "func End", "//go:noinline\nfunc End"},
		{"syntax error", "greeting/end.go", "package", "packag"},
		{"go.mod changed", "go.mod", "go 1.26", "go 1.26 // x"},
		{"go.sum changed", "go.sum", "", "\n"},
	}
	for _, tt := range tests {
		text, err := os.ReadFile(m.path(tt.file))
		after := strings.Replace(string(text), tt.old, tt.new, 1)
		if after == "package greeting\n\n" {
			m.remove(tt.file)
		} else {
			m.write(tt.file, after)
		}
		m.refused(tt.reason)
		m.refused("not ready") // until it has learnt anew
		if err != nil {
			m.remove(tt.file)
		} else {
			m.write(tt.file, string(text))
		}
		// As if it had learnt: the files are as they were.
		g := m.builder.graph
		g.outdated = false
		if g.tree, err = g.set.Scan(); err != nil {
			t.Fatal(err)
		}
	}
	// What is not the program's: a test, a text, a directory without packages.
	m.write("greeting/of_test.go", "package greeting\n")
	m.write("greeting/README", "text")
	m.write("elsewhere/x.go", "package elsewhere\n")
	m.hot()
	m.same()
}

// TestCompileError: the go command says what is wrong. Once that is mended, the
// builder goes on.
func TestCompileError(t *testing.T) {
	m := newModule(t, small())
	m.learn()
	m.hot()
	m.edit("greeting/of.go", "\treturn", "\treturn missing")
	m.refused("compile error")
	m.refused("compile error")
	m.edit("greeting/of.go", "func Of", "func ( Of")
	m.refused("compile error")
	m.says("hello you")
	m.write("greeting/of.go", small()["greeting/of.go"])
	m.hot()
	m.edit("greeting/of.go", `"hello"`, `"goodbye"`)
	m.hot("m/greeting", "m")
	m.says("goodbye you")

	// A package above may be what does not compile.
	m.edit("greeting/of.go", "name string)", "name int)")
	m.edit("greeting/of.go", "+ name", "")
	m.refused("compile error")
	m.edit("main.go", `"you"`, "1")
	m.hot("m")
	m.same()
}

// TestNet: should a dependent be left as it was, the linker refuses the program.
func TestNet(t *testing.T) {
	m := newModule(t, small())
	m.learn()
	m.hot()
	m.edit("greeting/of.go", `"hello"`, `"goodbye"`)
	g := m.builder.graph
	if err := g.look(); err != nil {
		t.Fatal(err)
	}
	greeting, program := g.packages[0], g.packages[1]
	if err := m.builder.compile(t.Context(), greeting); err != nil {
		t.Fatal(err)
	}
	program.against["m/greeting"] = greeting.sum // which is not so
	_, err := m.builder.Build(t.Context(), m.request("hot"), Serving)
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != Mismatch || !strings.Contains(err.Error(), "fingerprint mismatch: m/greeting") {
		t.Errorf("Build() = %v, want the linker's refusal", err)
	}
	m.says("hello you")
	m.tidy()
}

// TestWrittenBack: a text that the compiler may have read, and no one else, does
// not count as compiled.
func TestWrittenBack(t *testing.T) {
	long(t)
	m := newModule(t, small())
	m.learn()
	m.hot()
	file, aside := m.path("greeting/of.go"), filepath.Join(t.TempDir(), "aside")
	real := m.replace("compile", "cp "+file+" "+aside+"\nsed -i s/hello/goodbye/ "+file+"\nREAL \"$@\"\ncp "+aside+" "+file+"\n")
	m.edit("greeting/of.go", "name\n", "name + \"!\"\n")
	m.refused("edited meanwhile")
	m.builder.graph.tools.dir = real
	m.hot("m/greeting")
	m.says("hello you!")
	m.same()
}

// TestInherit: what has been compiled is not compiled again to learn of a change.
func TestInherit(t *testing.T) {
	long(t)
	m := newModule(t, small())
	m.learn()
	m.hot()
	before, err := os.Stat(m.builder.object(m.builder.graph.packages[0]))
	if err != nil {
		t.Fatal(err)
	}
	m.edit("main.go", "package main\n", "package main\n\nimport _ \"errors\"\n")
	m.refused("imports changed")
	m.learn()
	m.hot()
	m.same()
	if after, err := os.Stat(m.builder.object(m.builder.graph.packages[0])); err != nil || !os.SameFile(before, after) {
		t.Errorf("a package that has not changed was compiled again, %v", err)
	}
	if err := m.builder.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if _, err := os.Stat(m.builder.Dir); !os.IsNotExist(err) {
		t.Errorf("Close() leaves %s", m.builder.Dir)
	}
}

// TestUnknown: a request that is not known through and through is not learnt.
func TestUnknown(t *testing.T) {
	long(t)
	m := newModule(t, small())
	tests := []struct {
		flags  []string
		reason string
	}{
		{[]string{"-toolexec=env"}, "toolexec"},
		{[]string{"-gcflags=-d=checkptr"}, "flag -d"},
		{[]string{"-ldflags=-B=none"}, "flag -B"},
	}
	for _, tt := range tests {
		m.flags = tt.flags
		err := m.builder.Learn(t.Context(), m.request("hot"))
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != tt.reason {
			t.Errorf("Learn(%q) = %v, want the refusal %s", tt.flags, err, tt.reason)
		}
	}
	m.flags = nil
	m.write("greeting/x_amd64.s", "// Nothing.\n")
	m.write("greeting/x_arm64.s", "// Nothing.\n")
	err := m.builder.Learn(t.Context(), m.request("hot"))
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != "assembly" {
		t.Errorf("Learn() = %v, want the refusal assembly", err)
	}
}

func (m *module) remove(name string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}
