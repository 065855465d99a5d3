package hotbuild

import (
	"bytes"
	"context"
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"devloop/internal/gobuild"
	"devloop/internal/process"
	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A module is a program, built by a Builder and by the go command.
type module struct {
	t       *testing.T
	dir     string
	starter *process.Starter
	builder *Builder
	flags   []string
}

// newModule writes a module from files, by name. Its packages are built as for
// debugging.
func newModule(t *testing.T, files map[string]string) *module {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("compares ELF files")
	}
	m := &module{t: t, dir: t.TempDir(), starter: process.NewStarter(), flags: []string{"-gcflags=m/...=-N -l", "-ldflags=-compressdwarf=false"}}
	t.Cleanup(m.starter.Close)
	m.builder = &Builder{Dir: filepath.Join(t.TempDir(), "packages"), Starter: m.starter}
	m.write("go.mod", "module m\n\ngo 1.26\n")
	for name, text := range files {
		m.write(name, text)
	}
	return m
}

func (m *module) path(name string) string { return filepath.Join(m.dir, filepath.FromSlash(name)) }

func (m *module) write(name, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *module) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// edit replaces text in a file.
func (m *module) edit(name, old, new string) {
	m.t.Helper()
	text := m.read(name)
	if !strings.Contains(text, old) {
		m.t.Fatalf("%s has no %q", name, old)
	}
	m.write(name, strings.Replace(text, old, new, 1))
}

func (m *module) request(output string) gobuild.Request {
	return gobuild.Request{Dir: m.dir, Args: slices.Concat(m.flags, []string{"-o", "out/" + output, "."}), Env: testkit.GoEnv()}
}

// long skips a test that builds often.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds often, which -short leaves out")
	}
}

// learn has the builder learn.
func (m *module) learn() {
	m.t.Helper()
	if err := m.builder.Learn(m.t.Context(), m.request("hot")); err != nil {
		m.t.Fatalf("Learn() = %v", err)
	}
}

// truth builds with the go command.
func (m *module) truth() {
	m.t.Helper()
	if err := gobuild.Run(m.t.Context(), m.starter, m.request("true"), nil); err != nil {
		m.t.Fatalf("go build: %v", err)
	}
}

// hot builds with the builder, and wants it to compile some packages.
func (m *module) hot(want ...string) {
	m.t.Helper()
	got, err := m.builder.Build(m.t.Context(), m.request("hot"), Debugging)
	if err != nil || !slices.Equal(got.Compiled, want) {
		m.t.Fatalf("Build() = %q, %v, want %q", got.Compiled, err, want)
	}
}

// refused has the builder refuse, and leave nothing.
func (m *module) refused(reason string) {
	m.t.Helper()
	before, missing := os.Stat(m.path("out/hot"))
	got, err := m.builder.Build(m.t.Context(), m.request("hot"), Debugging)
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != reason {
		m.t.Errorf("Build() = %q, %v, want the refusal %s", got.Compiled, err, reason)
	}
	if after, err := os.Stat(m.path("out/hot")); (err == nil) != (missing == nil) || err == nil && !os.SameFile(before, after) {
		m.t.Errorf("Build() = %v and has written to the output", err)
	}
	m.tidy()
}

// tidy wants nothing beside the outputs, and no unfinished packages.
func (m *module) tidy() {
	m.t.Helper()
	left, _ := filepath.Glob(m.path("out/.build-*"))
	unfinished, _ := filepath.Glob(filepath.Join(m.builder.Dir, "*", "*.new"))
	if left = append(left, unfinished...); len(left) > 0 {
		m.t.Errorf("left behind: %q", left)
	}
}

// same builds with the go command too, and compares.
func (m *module) same() {
	m.t.Helper()
	m.truth()
	if difference := compare(m.t, m.path("out/hot"), m.path("out/true")); difference != "" {
		m.t.Errorf("the program is not that of go build: %s", difference)
	}
}

func (m *module) says(want string) {
	m.t.Helper()
	said, err := exec.Command(m.path("out/hot")).CombinedOutput()
	if got := strings.TrimSpace(string(said)); err != nil || got != want {
		m.t.Errorf("the program says %q, %v, want %q", got, err, want)
	}
}

// compare says in which section two programs differ but for their build ids.
func compare(t *testing.T, a, b string) string {
	t.Helper()
	open := func(name string) *elf.File {
		f, err := elf.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	x, y := open(a), open(b)
	if len(x.Sections) != len(y.Sections) {
		return "the number of sections"
	}
	for i, s := range x.Sections {
		o := y.Sections[i]
		if s.Type == elf.SHT_NOTE || s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL {
			continue
		}
		if s.Name == ".debug_info" && o.Name == s.Name {
			if difference := compareInfo(t, x, y); difference != "" {
				return difference
			}
			continue
		}
		if s.Name != o.Name || s.Size != o.Size || s.Addr != o.Addr && s.Name != ".text" {
			return s.Name + "'s size or place"
		}
		of, errA := s.Data()
		other, errB := o.Data()
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if s.Name == ".text" { // begins with the build id (cmd/link/internal/ld, data.go, textbuildid)
			of, other = withoutID(of), withoutID(other)
		}
		if !bytes.Equal(of, other) {
			return s.Name
		}
	}
	return ""
}

// compareInfo compares what two programs tell debuggers of their functions and
// variables, but for the lines of parameters in the compiler's own wrappers.
func compareInfo(t *testing.T, a, b *elf.File) string {
	t.Helper()
	x, errA := a.DWARF()
	y, errB := b.DWARF()
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	of, other := x.Reader(), y.Reader()
	wrapper := false
	for {
		e, errA := of.Next()
		o, errB := other.Next()
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if e == nil || o == nil {
			if e != o {
				return ".debug_info's end"
			}
			return ""
		}
		if e.Tag == dwarf.TagSubprogram {
			// The file <autogenerated> has one line.
			wrapper = e.Val(dwarf.AttrTrampoline) != nil || e.Val(dwarf.AttrDeclLine) == int64(1)
		}
		if e.Tag != o.Tag || len(e.Field) != len(o.Field) {
			return fmt.Sprintf(".debug_info's %v %v", e.Tag, e.Val(dwarf.AttrName))
		}
		for i, f := range e.Field {
			_, place := f.Val.(dwarf.Offset) // moves with what stands before
			line := wrapper && f.Attr == dwarf.AttrDeclLine && e.Tag == dwarf.TagFormalParameter
			if f.Attr != o.Field[i].Attr || !place && !line && !reflect.DeepEqual(f.Val, o.Field[i].Val) {
				return fmt.Sprintf(".debug_info's %v of %v %v", f.Attr, e.Tag, e.Val(dwarf.AttrName))
			}
		}
	}
}

func withoutID(text []byte) []byte {
	_, after, ok := bytes.Cut(text[:min(len(text), 512)], []byte("\"\n \xff"))
	if !ok {
		return text
	}
	return bytes.TrimLeft(slices.Concat(after, text[min(len(text), 512):]), "\xcc\x00")
}

// small is a program of two packages.
func small() map[string]string {
	return map[string]string{
		"main.go":         "package main\n\nimport \"m/greeting\"\n\nfunc main() {\n\tprintln(greeting.Of(\"you\"))\n}\n",
		"greeting/of.go":  "package greeting\n\nconst Hello = \"hello\"\n\n// Of greets.\nfunc Of(name string) string {\n\treturn Hello + \" \" + name\n}\n",
		"greeting/end.go": "package greeting\n\nfunc End() {}\n",
	}
}

func TestBuild(t *testing.T) {
	m := newModule(t, small())
	m.learn()
	m.hot() // nothing to compile
	m.says("hello you")
	m.same()

	m.edit("greeting/of.go", "\treturn", "\tname += \"!\"\n\treturn")
	m.hot("m/greeting")
	m.says("hello you!")
	m.same()

	m.edit("greeting/of.go", `"hello"`, `"goodbye"`)
	m.hot("m/greeting", "m")
	m.says("goodbye you!")
	m.same()
	m.tidy()
}

// TestServing: what is not for debuggers is the same.
func TestServing(t *testing.T) {
	m := newModule(t, small())
	m.learn()
	if _, err := m.builder.Build(t.Context(), m.request("hot"), Serving); err != nil {
		t.Fatalf("Build() = %v", err)
	}
	serving, err := elf.Open(m.path("out/hot"))
	if err != nil {
		t.Fatal(err)
	}
	defer serving.Close()
	id := note(t, serving)
	if err := m.builder.Symbols(t.Context(), m.path("out/symbols")); err != nil {
		t.Fatalf("Symbols() = %v", err)
	}
	m.hot()
	if difference := compare(t, m.path("out/symbols"), m.path("out/hot")); difference != "" {
		t.Errorf("Symbols does not link the program: %s", difference)
	}
	debugging, err := elf.Open(m.path("out/hot"))
	if err != nil {
		t.Fatal(err)
	}
	defer debugging.Close()
	if other := note(t, debugging); !bytes.Equal(id, other) {
		t.Errorf("the build id is %x for a debugger, want %x", other, id)
	}
	if serving.Section(".debug_info") != nil || debugging.Section(".debug_info") == nil {
		t.Error("the modes do not differ in what debuggers read")
	}
	for _, s := range debugging.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 || s.Type == elf.SHT_NOBITS {
			continue
		}
		o := serving.Section(s.Name)
		if o == nil || o.Addr != s.Addr || o.Size != s.Size {
			t.Errorf("%s is elsewhere", s.Name)
			continue
		}
		want, errA := s.Data()
		got, errB := o.Data()
		if errA != nil || errB != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs", s.Name)
		}
	}
	m.edit("greeting/of.go", `"hello"`, `"hallo"`)
	m.edit("main.go", "(\"you\")", "(1)")
	m.refused("compile error") // with one of the packages compiled
	if err := m.builder.Symbols(t.Context(), m.path("out/symbols")); err == nil || err.Error() != "edited meanwhile" {
		t.Errorf("Symbols() = %v of another program", err)
	}
	m.edit("main.go", "(1)", "(\"you\")")
	m.hot("m")
	edited, err := elf.Open(m.path("out/hot"))
	if err != nil {
		t.Fatal(err)
	}
	defer edited.Close()
	if other := note(t, edited); bytes.Equal(id, other) {
		t.Error("another program has the same build id")
	}
}

// note returns the build id that debuggers read.
func note(t *testing.T, f *elf.File) []byte {
	t.Helper()
	s := f.Section(".note.gnu.build-id")
	if s == nil {
		t.Fatal("the program has no GNU build id")
	}
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCancel ends a build in which a tool runs, and all below it.
func TestCancel(t *testing.T) {
	testkit.NeedProc(t)
	for _, tool := range []string{"compile", "link"} {
		t.Run(tool, func(t *testing.T) {
			m := newModule(t, small())
			m.learn()
			m.hot()
			m.edit("greeting/of.go", `"hello"`, `"goodbye"`)
			pids := filepath.Join(t.TempDir(), "pids")
			real := m.stop(tool, pids)
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("no longer wanted")
			done := make(chan error, 1)
			go func() {
				_, err := m.builder.Build(ctx, m.request("hot"), Serving)
				done <- err
			}()
			var running, below int
			if _, err := fmt.Sscan(testkit.WaitFile(t, pids), &running, &below); err != nil {
				t.Fatal(err)
			}
			cancel(why)
			if err := testkit.Within(t, "the end of Build", done); !errors.Is(err, why) {
				t.Errorf("Build() = %v, want %v", err, why)
			}
			testkit.Eventually(t, "the end of the tool and its child", func() bool {
				return testkit.Gone(running) && testkit.Gone(below)
			})
			m.tidy()
			m.says("hello you")
			m.builder.graph.tools.dir = real
			if _, err := m.builder.Build(t.Context(), m.request("hot"), Debugging); err != nil {
				t.Errorf("Build() = %v", err)
			}
			m.says("goodbye you")
			m.same()
		})
	}
}

// stop has a tool note its process and a child, and never end. It returns the
// directory of the real tools.
func (m *module) stop(tool, pids string) string {
	m.t.Helper()
	return m.replace(tool, "sleep 1000 &\necho $$ $! >"+pids+".new\nmv "+pids+".new "+pids+"\nwait\n")
}

// replace puts a script in place of a tool, which is REAL in it. It returns the
// directory of the real tools.
func (m *module) replace(tool, script string) string {
	m.t.Helper()
	real, dir := m.builder.graph.tools.dir, m.t.TempDir()
	for _, name := range []string{"compile", "link"} {
		text := "exec REAL \"$@\"\n"
		if name == tool {
			text = script
		}
		text = "#!/bin/sh\n" + strings.ReplaceAll(text, "REAL", filepath.Join(real, name))
		// A process that is forked meanwhile would have the program open.
		syscall.ForkLock.RLock()
		err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700)
		syscall.ForkLock.RUnlock()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	m.builder.graph.tools.dir = dir
	return real
}

// TestCancelledLearning goes on where it was.
func TestCancelledLearning(t *testing.T) {
	m := newModule(t, small())
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no longer wanted")
	cancel(why)
	if err := m.builder.Learn(ctx, m.request("hot")); !errors.Is(err, why) {
		t.Errorf("Learn() = %v, want %v", err, why)
	}
	m.refused("not ready")
	m.learn()
	m.hot()
	m.says("hello you")
}
