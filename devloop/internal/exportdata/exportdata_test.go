package exportdata

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	gotypes "go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A compiler compiles small packages, each from one file.
type compiler struct {
	t     *testing.T
	dir   string
	tools string
	flags []string
}

func newCompiler(t *testing.T, flags ...string) *compiler {
	t.Helper()
	tools, err := exec.Command("go", "env", "GOTOOLDIR").Output()
	if err != nil {
		t.Fatalf("go env GOTOOLDIR: %v", err)
	}
	return &compiler{t, t.TempDir(), strings.TrimSpace(string(tools)), flags}
}

func (c *compiler) path(name string) string { return filepath.Join(c.dir, name) }

func (c *compiler) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *compiler) run(tool string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(c.tools, tool), args...)
	cmd.Dir = c.dir
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// compile compiles a package, which may import those that were compiled before,
// into NAME.x and NAME.o.
func (c *compiler) compile(name, source string) {
	c.t.Helper()
	c.write(name+".go", source)
	before, _ := filepath.Glob(c.path("*.x"))
	var config strings.Builder
	for _, x := range before {
		fmt.Fprintf(&config, "packagefile %s=%s\n", strings.TrimSuffix(filepath.Base(x), ".x"), x)
	}
	c.write("importcfg", config.String())
	args := append(c.flags, "-p", name, "-complete", "-pack", "-importcfg", "importcfg", "-o", name+".x", "-linkobj", name+".o", name+".go")
	if said, err := c.run("compile", args...); err != nil {
		c.t.Fatalf("compile %s: %v\n%s", name, err, said)
	}
}

func (c *compiler) read(name string) []byte {
	c.t.Helper()
	data, err := os.ReadFile(c.path(name))
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// sum compiles a package and returns its sum.
func (c *compiler) sum(name, source string) Sum {
	c.t.Helper()
	c.compile(name, source)
	sum, err := Of(c.read(name + ".x"))
	if err != nil {
		c.t.Fatalf("Of(%s) = %v", name, err)
	}
	return sum
}

const base = `package p

import "q"

const Limit = 7

type T struct {
	A int ` + "`json:\"a\"`" + `
	q q.Q
}

func (t *T) Set(p *int) { t.A = *p }

func (t T) hidden() int { return t.A }

type I interface{ Set(p *int) }

var V = map[string]I{}

func F(p *int) int {
	x := *p
	return x
}

func G[E any](e E) E {
	x := e
	return x
}

func Last() {}
`

const imported = `package q

type Q struct{ N int }

func (q Q) M() int { return q.N }
`

func TestOf(t *testing.T) {
	edit := func(old, new string) string {
		t.Helper()
		if !strings.Contains(base, old) {
			t.Fatalf("the package has no %q", old)
		}
		return strings.Replace(base, old, new, 1)
	}
	tests := []struct {
		name, source string
		same         bool
	}{
		{"nothing", base, true},
		{"another constant in a body", edit("x := *p", "x := *p + 1"), true},
		{"lines in the last function", edit("Last() {", "Last() {\n\tprintln(1)\n"), true},
		{"the place in the line", edit("func (t *T) Set", "func  (t *T)  Set"), true},
		{"a comment above a type", edit("type T", "// T is a type.\ntype T"), false}, // moves the generic body
		{"a comment behind what is generic", edit("func Last", "// Last.\nfunc Last"), true},

		{"a constant", edit("Limit = 7", "Limit = 8"), false},
		{"a constant's type", edit("Limit = 7", "Limit int = 7"), false},
		{"a tag", edit(`json:"a"`, `json:"b"`), false},
		{"a field", edit("q q.Q", "q q.Q; B int"), false},
		{"an unexported field's type", edit("q q.Q", "q []q.Q"), false},
		{"an unexported method", edit("hidden() int", "hidden() any"), false},
		{"another unexported method", edit("func F", "func (T) other() {}\n\nfunc F"), false},
		{"a receiver", edit("(t T) hidden", "(t *T) hidden"), false},
		{"an interface", edit("Set(p *int) }", "Set(p *int); hidden() int }"), false},
		{"a variable's type", edit("map[string]I", "map[int]I"), false},
		{"a parameter that escapes", edit("x := *p", "kept = p; x := *p") + "var kept *int\n", false},
		{"a parameter that escapes into what was there", edit("x := *p", "E = p; x := *p") + "var E *int\n", false},
		{"a parameter's name", strings.NewReplacer("F(p *int)", "F(r *int)", "x := *p", "x := *r").Replace(base), false},
		{"a pragma", edit("func F", "//go:noinline\nfunc F"), false},
		{"a new function", base + "func New() {}\n", false},
		{"a generic body", edit("x := e", "x, _ := e, 1"), false},
		{"a line in a generic body", edit("x := e", "\n\tx := e"), false},
		{"something to initialise", base + "func init() { println(1) }\n", false},
	}
	c := newCompiler(t, "-N", "-l")
	c.compile("q", imported)
	want := c.sum("p", base)
	seen := c.seen("p")
	for _, tt := range tests {
		got := c.sum("p", tt.source)
		if (got == want) != tt.same {
			t.Errorf("after %s the sums are equal: %t, want %t", tt.name, got == want, tt.same)
		}
		// The standard library reads the same data, in another way.
		if now := c.seen("p"); got == want && now != seen {
			t.Errorf("after %s the sums are equal, and go/types sees\n%s\nwhere it saw\n%s", tt.name, now, seen)
		}
	}
}

// seen is what go/types sees of a compiled package, without positions.
func (c *compiler) seen(name string) string {
	c.t.Helper()
	open := func(path string) (io.ReadCloser, error) { return os.Open(c.path(path + ".x")) }
	p, err := importer.ForCompiler(token.NewFileSet(), "gc", open).Import(name)
	if err != nil {
		c.t.Fatalf("import %s: %v", name, err)
	}
	var text strings.Builder
	for _, name := range p.Scope().Names() {
		object := p.Scope().Lookup(name)
		fmt.Fprintln(&text, object)
		if constant, ok := object.(*gotypes.Const); ok {
			fmt.Fprintln(&text, constant.Val().ExactString())
		}
		if named, ok := object.Type().(*gotypes.Named); ok {
			for method := range named.Methods() {
				fmt.Fprintln(&text, method)
			}
		}
	}
	return text.String()
}

// TestLinesAbove: what is not generic may move.
func TestLinesAbove(t *testing.T) {
	plain := base[:strings.Index(base, "func G")] + base[strings.Index(base, "func Last"):]
	c := newCompiler(t, "-N", "-l")
	c.compile("q", imported)
	want := c.sum("p", plain)
	for _, above := range []string{"const Limit", "type T", "\tq q.Q", "func (t *T)", "func F", "\tx := *p", "func Last"} {
		source := strings.Replace(plain, above, "// One.\n// Two.\n"+above, 1)
		if got := c.sum("p", source); got != want {
			t.Errorf("a comment above %q changes the sum", above)
		}
	}
}

// TestInlined: lines of what the importing package compiles count.
func TestInlined(t *testing.T) {
	const small = "package p\n\nfunc Add(a, b int) int { return a + b }\n\ntype N int\n\nfunc (n N) Inc() N { return n + 1 }\n"
	tests := []struct {
		name, source string
		same         bool
	}{
		{"behind", small + "// The end.\n", true},
		{"above a function", strings.Replace(small, "func Add", "// Add adds.\nfunc Add", 1), false},
		{"above a method", strings.Replace(small, "func (n N)", "// Inc adds 1.\nfunc (n N)", 1), false},
		{"parameters on lines of their own", strings.Replace(small, "package p\n\nfunc Add(a, b", "package p\nfunc Add(a,\nb", 1), false},
	}
	c := newCompiler(t)
	want := c.sum("p", small)
	for _, tt := range tests {
		if got := c.sum("p", tt.source); (got == want) != tt.same {
			t.Errorf("after an edit %s the sums are equal: %t, want %t", tt.name, got == want, tt.same)
		}
	}
}

// TestOfAnother: what is seen of another package through this one counts.
func TestOfAnother(t *testing.T) {
	c := newCompiler(t, "-N", "-l")
	c.compile("q", imported)
	want := c.sum("p", base)
	tests := []struct {
		name, source string
		same         bool
	}{
		{"a line", strings.Replace(imported, "type Q", "// Q is a type.\ntype Q", 1), true},
		{"a field", strings.Replace(imported, "N int", "N, O int", 1), false},
		{"a symbol before", strings.Replace(imported, "type Q", "func A() any { return struct{}{} }\n\ntype Q", 1), false},
	}
	for _, tt := range tests {
		c.compile("q", tt.source)
		if got := c.sum("p", base); (got == want) != tt.same {
			t.Errorf("after %s in the imported package the sums are equal: %t, want %t", tt.name, got == want, tt.same)
		}
	}
}

// TestStandardLibrary reads what real packages have.
func TestStandardLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("reads what a web server imports, which -short leaves out")
	}
	cmd := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Export", "net/http", "encoding/json", "go/types")
	cmd.Env, cmd.Stderr = testkit.GoEnv(), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	seen := make(map[Sum]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Export == "" {
			continue // unsafe
		}
		archive, err := os.ReadFile(p.Export)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := Of(archive)
		if err != nil {
			t.Errorf("Of(%s) = %v", p.ImportPath, err)
		}
		if other, ok := seen[sum]; ok && err == nil {
			t.Errorf("%s and %s have the same sum", other, p.ImportPath)
		}
		seen[sum] = p.ImportPath
	}
	if len(seen) < 100 {
		t.Errorf("read %d packages, want what a web server imports", len(seen))
	}
}

// TestRefuse breaks an archive in every way that the reader looks for, and in
// those that it does not: it may refuse or not, but must come to an end.
func TestRefuse(t *testing.T) {
	c := newCompiler(t, "-N", "-l")
	c.compile("q", imported)
	c.compile("p", base)
	good := c.read("p.x")
	begin := bytes.Index(good, []byte("\n$$B\nu")) + 6
	patch := func(at int, text string) []byte {
		out := bytes.Clone(good)
		copy(out[at:], text)
		return out
	}
	replace := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	tests := []struct {
		name    string
		archive []byte
		want    string
	}{
		{"nothing", nil, "it is no archive"},
		{"text", []byte("package p"), "it is no archive"},
		{"the beginning alone", good[:len(archiveMagic)], "the archive has no __.PKGDEF"},
		{"half a header", good[:len(archiveMagic)+30], "the archive is cut short"},
		{"half an archive", good[:len(good)/2], "the archive has a file of no size"},
		{"another member", replace("__.PKGDEF", "_x.PKGDEF"), "the archive has no __.PKGDEF"},
		{"another toolchain", replace(" go1.26", " go1.99"), "the archive is of go1.99"},
		{"no header", replace("go object", "xx object"), "the archive begins with"},
		{"another format", replace("\n$$B\nu", "\n$$B\ni"), "the archive has no unified export data"},
		{"another version", patch(begin, "\x03"), "the export data has version 3, and only 2 is known"},
		{"flags", patch(begin+4, "\x01"), "the export data has the flags 0x1, and none is known"},
		{"sections", patch(begin+8, "\xff\xff"), "the export data's sections are out of order"},
		{"elements", patch(begin+48, "\xff\xff\xff"), "the export data's elements are out of order"},
	}
	for _, tt := range tests {
		if sum, err := Of(tt.archive); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Of(%s) = %x, %v, want %s...", tt.name, sum, err, tt.want)
		}
	}
	for i := begin; i < len(good); i++ {
		for _, value := range []byte{0, 1, 0x7f, 0xff} {
			broken := bytes.Clone(good)
			broken[i] = value
			_, _ = Of(broken)
		}
	}
}

// TestStamp: the fingerprint is the sum, and reaches those who import the package.
func TestStamp(t *testing.T) {
	c := newCompiler(t, "-N", "-l")
	c.compile("q", imported)
	sum, err := Stamp(c.path("q.x"), c.path("q.o"))
	if err != nil {
		t.Fatalf("Stamp(q) = %v", err)
	}
	if again, err := Of(c.read("q.x")); err != nil || again != sum {
		t.Errorf("Of(q) = %x, %v after Stamp(q) = %x", again, err, sum)
	}
	f, err := parse(c.read("q.x"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.print[:], sum[:8]) {
		t.Errorf("the export data has the fingerprint %x, want %x", f.print, sum[:8])
	}
	if head, at, err := objectHead(c.path("q.o")); err != nil || !bytes.Equal(head[at:at+8], sum[:8]) {
		t.Errorf("the object does not have the fingerprint %x, %v", sum[:8], err)
	}
	c.compile("p", base)
	if !bytes.Contains(c.read("p.o"), sum[:8]) {
		t.Error("the importing package's object does not expect the sum")
	}
	// Stamped once more it is the same.
	if again, err := Stamp(c.path("q.x"), c.path("q.o")); err != nil || again != sum {
		t.Errorf("Stamp(q) = %x, %v the second time, want %x", again, err, sum)
	}
	// No sum at all would not be compared.
	if err := Write(c.path("q.x"), c.path("q.o"), Sum{}); err != nil {
		t.Fatalf("Write(q) = %v", err)
	}
	if f, err := parse(c.read("q.x")); err != nil || binary.LittleEndian.Uint64(f.print[:]) == 0 {
		t.Errorf("the export data has the fingerprint 0, %v", err)
	}
}

func TestStampRefuses(t *testing.T) {
	c := newCompiler(t)
	c.compile("q", imported)
	c.compile("p", strings.Replace(base, "package p", "package p\n", 1))
	c.write("text", "text")
	missing := c.path("missing")
	tests := []struct{ export, object, want string }{
		{"p.x", "q.o", "the object has another fingerprint than the export data"},
		{"p.x", "text", "the object does not begin as those that are known"},
		{"p.x", "p.x", "the object does not begin as those that are known"},
		{"p.o", "p.o", "the archive has no __.PKGDEF"},
		{"p.x", "missing", "read the object: open " + missing},
		{"missing", "p.o", "read the export data: open " + missing},
	}
	for _, tt := range tests {
		before, _ := os.ReadFile(c.path(tt.object))
		_, err := Stamp(c.path(tt.export), c.path(tt.object))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Stamp(%s, %s) = %v, want %s...", tt.export, tt.object, err, tt.want)
		}
		if after, _ := os.ReadFile(c.path(tt.object)); !bytes.Equal(before, after) {
			t.Errorf("Stamp(%s, %s) has written", tt.export, tt.object)
		}
	}
}

// TestLinkerRefuses: parts that do not fit are no program.
func TestLinkerRefuses(t *testing.T) {
	const user = "package main\n\nimport \"q\"\n\nfunc main() { println(q.Q{}.M()) }\n"
	c := newCompiler(t, "-N", "-l")
	stamp := func(name string) {
		t.Helper()
		if _, err := Stamp(c.path(name+".x"), c.path(name+".o")); err != nil {
			t.Fatal(err)
		}
	}
	c.compile("q", imported)
	stamp("q")
	c.compile("main", user)
	c.compile("q", strings.Replace(imported, "N int", "N, O int", 1))
	stamp("q")
	c.write("importcfg.link", "packagefile q="+c.path("q.o")+"\n")
	said, err := c.run("link", "-importcfg", "importcfg.link", "-o", "program", "main.o")
	if err == nil || !strings.Contains(said, "fingerprint mismatch: q has ") {
		t.Errorf("link = %q, %v, want a mismatch", said, err)
	}
}
