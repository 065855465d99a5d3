package hotbuild

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"devloop/internal/gobuild"
)

var (
	edits = flag.Int("edits", 0, "how many edits of each module TestEdits compares with go build; 0: a handful")
	seed  = flag.Uint64("seed", 0, "of the edits; 0: another one each time")
)

// A kind of edit replaces a line that ends in its mark. N tells edits apart.
type kind struct {
	name, mark string
	replace    func(line string, n int) string
}

// before puts text before the marked line.
func before(text string) func(string, int) string {
	return func(line string, n int) string {
		return strings.ReplaceAll(text, "#", fmt.Sprint(n)) + "\n" + line
	}
}

func kinds() []kind {
	return []kind{
		{"a statement", "//body", before("\tx += #")},
		{"lines in a body", "//body", before("\n\tif x > # {\n\t\tx--\n\t}")},
		{"a closure", "//body", before("\tfunc() { x += # }()")},
		{"a goroutine and defer", "//body", before("\tdone# := make(chan int)\n\tgo func() { defer close(done#); x++ }()\n\t<-done#")},
		{"a local type", "//body", before("\ttype local# struct{ n int }\n\tx += any(local#{#}).(local#).n")},
		{"an unused result", "//body", before("\t_ = append([]int{x}, #)")},
		{"a comment above", "//decl", before("// Comment # on a line.\n")},
		{"a function", "//decl", before("func new#() int { return # }\n")},
		{"an exported function", "//decl", before("// New# is new.\nfunc New#(t []int) int { return t[0] + # }\n")},
		{"a variable", "//decl", before("var v# = fmt.Sprint(#)\n")},
		{"a map", "//decl", before("var map# = map[string]int{\"#\": #, \"x\": 1, \"y\": 2}\n")},
		{"a type with a method", "//decl", before("type type# struct{ T }\n\nfunc (t type#) String() string { return \"#\" }\n\nvar _ fmt.Stringer = type#{}\n")},
		{"an init function", "//decl", before("func init() { Count += # }\n")},
		{"an unexported method", "//decl", before("func (t *T) hidden#() int { return t.A }\n")},
		{"a field", "//field", before("\tF# []int")},
		{"a tag", "//tag", func(_ string, n int) string { return fmt.Sprintf("\tA int `json:\"a%d\"` //tag", n) }},
		{"a constant", "//const", func(_ string, n int) string { return fmt.Sprintf("const Limit = %d //const", n) }},
		{"a parameter that escapes", "//escape", func(line string, n int) string {
			if strings.HasPrefix(line, "\tkept") {
				return "\t//escape"
			}
			return "\tkept = p //escape"
		}},
		{"a generic body", "//generic", before("\tn += #")},
		{"an embedded file", "//text", before("line #")},
	}
}

// pkgSource is a package that shows others everything that a package can.
func pkgSource(name string, imports []string) string {
	var importing, sum, outer strings.Builder
	for _, path := range imports {
		last := path[strings.LastIndex(path, "/")+1:]
		fmt.Fprintf(&importing, "\t%q\n", path)
		fmt.Fprintf(&sum, "\tx += %[1]s.First(&x) + %[1]s.Limit + %[1]s.Keep(&%[1]s.T{A: x}) + %[1]s.Each([]int{x}, %[1]s.Limit)\n", last)
		fmt.Fprintf(&outer, "type Of%[1]s struct {\n\t*%[1]s.T\n\tn int\n}\n\nvar _ %[1]s.Setter = Of%[1]s{}\n\nvar Got%[1]s %[1]s.Setter = &Of%[1]s{T: new(%[1]s.T)}\n\n", last)
	}
	return "package " + name + "\n\nimport (\n\t\"fmt\"\n" + importing.String() + `)

// Limit is a constant.
const Limit = 7 //const

// T is a type.
type T struct {
	A int ` + "`json:\"a\"`" + ` //tag
	//field
}

//decl

// First comes first.
func First(p *int) int {
	x := *p + Limit
` + sum.String() + `	//body
	return x
}

// Setter is what T is.
type Setter interface{ Set(n, m int) error }

// Set is in the middle.
func (t *T) Set(n, m int) error {
	x := n + m
	//body
	t.A = x
	return nil
}

var kept *T

// Count counts.
var Count int

// Keep may keep what it is given.
func Keep(p *T) int {
	//escape
	x := p.A
	if kept != nil {
		x += kept.A
	}
	//body
	return x
}

` + outer.String() + `// Number is a constraint.
type Number interface{ ~int | ~int64 }

// Each is generic.
func Each[N Number](list []N, limit int) int {
	n := limit
	for _, x := range list {
		n += int(x)
	}
	//generic
	return n
}

// Last comes last.
func Last() string {
	x := Count
	//body
	return fmt.Sprint(x)
}

//decl
`
}

// A program is a module, and flags for it.
type program struct {
	flags []string
	files map[string]string
}

// programs are small programs of several shapes, by name.
func programs() map[string]program {
	main := func(imports ...string) string {
		text := pkgSource("main", imports)
		return text + "\nfunc main() {\n\tx := 1\n\tfmt.Println(First(&x), Last())\n}\n"
	}
	tree := map[string]string{"main.go": main("m/a", "m/b/c", "m/d")}
	for path, imports := range map[string][]string{
		"a": {"m/e", "m/b/c"}, "b/c": {"m/d", "m/f"}, "d": {"m/g"}, "e": {"m/f"}, "f": {"m/g", "m/h"}, "g": {"m/h", "m/i"}, "h": {"m/j"}, "i": nil, "j": nil,
	} {
		name := path[strings.LastIndex(path, "/")+1:]
		tree[path+"/"+name+".go"] = pkgSource(name, imports)
	}
	embed := func(text string) string {
		return strings.Replace(text, "//decl", "//go:embed text\nvar Text string\n\n//go:embed text all:more\nvar Files embed.FS\n\n//decl", 1)
	}
	embedding := strings.Replace(embed(pkgSource("data", nil)), "import (\n", "import (\n\t\"embed\"\n", 1)
	small := map[string]string{
		"main.go": main("m/part"), "part/part.go": pkgSource("part", nil),
		"part/more.go": "package part\n\nimport \"fmt\"\n\n//decl\n\nvar _ = fmt.Sprint()\n",
	}
	wide := map[string]string{"main.go": main("m/part"), "part/part.go": pkgSource("part", nil)}
	for i := range 120 {
		wide[fmt.Sprintf("part/part%d.go", i)] = fmt.Sprintf("package part\n\nfunc F%d(x int) int {\n\t//body\n\treturn x\n}\n", i)
	}
	debug := []string{"-gcflags=m/...=-N -l", "-ldflags=-compressdwarf=false"}
	return map[string]program{
		"small":     {debug, small},
		"optimised": {[]string{"-ldflags=-compressdwarf=false"}, small},
		"trimmed":   {[]string{"-trimpath", "-gcflags=all=-l", "-ldflags=-X m/part.Unset=text"}, small},
		"wide":      {debug, wide},
		"tree":      {debug, tree},
		"embedding": {debug, map[string]string{
			"main.go": main("m/data", "m/part"), "part/part.go": pkgSource("part", []string{"m/data"}),
			"data/data.go": embedding, "data/text": "//text\n", "data/more/.hidden": "more\n//text\n", "data/more/text": "//text\n",
		}},
	}
}

// TestEdits makes random edits, one upon the other, and compares each program
// with that of the go command.
func TestEdits(t *testing.T) {
	n := *edits
	if n == 0 {
		n = 2
	}
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano()) % 1_000_000
	}
	for name, p := range programs() {
		t.Run(name, func(t *testing.T) {
			switch {
			case testing.Short() && name != "small":
				t.Skip("-short leaves out all but one")
			case *edits == 0 && name == "trimmed":
				t.Skip("compiles the standard library anew: only with -edits")
			}
			t.Logf("-seed=%d", s)
			f := &fuzzer{newModule(t, p.files), rand.New(rand.NewPCG(s, uint64(len(name)))), slices.Sorted(maps.Keys(p.files)), nil}
			f.flags = p.flags
			f.learn()
			for i := range n {
				f.step(i + 1)
				if t.Failed() {
					t.Fatalf("after the edits %s", strings.Join(f.done, "; "))
				}
			}
			t.Logf("%s", strings.Join(f.done, "; "))
		})
	}
}

type fuzzer struct {
	*module
	random *rand.Rand
	files  []string
	done   []string
}

// step makes one edit and builds twice.
func (f *fuzzer) step(n int) {
	f.t.Helper()
	kinds := kinds()
	for {
		k, name := kinds[f.random.IntN(len(kinds))], f.files[f.random.IntN(len(f.files))]
		lines := strings.SplitAfter(f.read(name), "\n")
		var marked []int
		for i, line := range lines {
			if strings.HasSuffix(line, k.mark+"\n") {
				marked = append(marked, i)
			}
		}
		if len(marked) == 0 || k.name == "a type with a method" && !strings.Contains(f.read(name), "type T struct") {
			continue
		}
		i := marked[f.random.IntN(len(marked))]
		lines[i] = k.replace(strings.TrimSuffix(lines[i], "\n"), n) + "\n"
		f.write(name, strings.Join(lines, ""))
		f.done = append(f.done, fmt.Sprintf("%s in %s:%d", k.name, name, i+1))
		break
	}
	got, err := f.builder.Build(f.t.Context(), f.request("hot"), Debugging)
	if err != nil {
		truth := gobuild.Run(f.t.Context(), f.starter, f.request("true"), nil)
		if _, ok := errors.AsType[*gobuild.CompileError](truth); ok {
			f.t.Fatalf("the edits do not compile: %v", truth)
		}
		f.t.Fatalf("Build() = %v, and go build succeeds: %v", err, f.done)
	}
	f.done[len(f.done)-1] += fmt.Sprintf(" (%d compiled)", len(got.Compiled))
	f.same()
}
