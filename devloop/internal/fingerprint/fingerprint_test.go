package fingerprint

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// program is one that prints, calls across files and can panic: its line
// table has something to say.
const program = `package main

func main() {
	for i := range 3 {
		greet(i)
	}
}

func greet(n int) {
	if n > 2 {
		panic("too many greetings")
	}
	println("hello", n)
}
`

// A builder builds variants of a program at one place, so nothing but
// what a test changes differs.
type builder struct {
	t   *testing.T
	dir string
	env []string
}

func newBuilder(t *testing.T, env ...string) *builder {
	b := &builder{t: t, dir: t.TempDir(), env: append(testkit.GoEnv(), env...)}
	b.write("go.mod", "module program\n\ngo 1.26\n")
	return b
}

func (b *builder) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// build returns the binary of a source.
func (b *builder) build(source string, flags ...string) string {
	b.t.Helper()
	b.write("main.go", source)
	out := filepath.Join(b.t.TempDir(), "program")
	// With -trimpath, the binary does not say which -ldflags it was built with.
	cmd := exec.Command("go", slices.Concat([]string{"build", "-trimpath"}, flags, []string{"-o", out, "."})...)
	cmd.Dir, cmd.Env = b.dir, b.env
	if said, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("go build %v: %v\n%s", flags, err, said)
	}
	return out
}

// A variant is a build of the program after an edit, or with other flags.
type variant struct {
	name        string
	source      string
	flags       []string
	code, whole bool // whether it is equal to the program's
}

const forDebuggers = "-gcflags=-N -l"

func edit(old, new string) string {
	if !strings.Contains(program, old) {
		panic("the program has no " + old)
	}
	return strings.Replace(program, old, new, 1)
}

func TestBuilds(t *testing.T) {
	flags := []string{forDebuggers}
	testVariants(t, newBuilder(t), []variant{
		{"the same again", program, flags, true, true},
		{"another build id", program, []string{forDebuggers, "-ldflags=-buildid=another"}, true, true},
		{"a comment at the end", program + "// The end.\n", flags, true, true},
		{"a comment that shifts lines", edit("func main", "// Main greets\n// thrice.\nfunc main"), flags, true, false},
		{"a blank line within a function", edit("\tprintln", "\n\tprintln"), flags, true, false},
		{"a changed number", edit("range 3", "range 2"), flags, false, false},
		{"a changed text of the same length", edit("hello", "howdy"), flags, false, false},
		{"another optimisation", program, nil, false, false},
		{"without debug information", program, []string{forDebuggers, "-ldflags=-w"}, true, false},
	})
}

// TestMachO reads what a Mac runs, on any machine.
func TestMachO(t *testing.T) {
	flags := []string{forDebuggers}
	testVariants(t, newBuilder(t, "GOOS=darwin", "GOARCH=arm64"), []variant{
		{"a comment at the end", program + "// The end.\n", flags, true, true}, // with another build id
		{"a comment that shifts lines", edit("func main", "// Main greets.\nfunc main"), flags, true, false},
		{"a changed text of the same length", edit("hello", "howdy"), flags, false, false},
	})
}

// testVariants compares builds with the one of the program for debuggers.
func testVariants(t *testing.T, b *builder, tests []variant) {
	h := New()
	want := file(t, h, b.build(program, forDebuggers))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := file(t, h, b.build(tt.source, tt.flags...))
			if (got.Code == want.Code) != tt.code || (got.Whole == want.Whole) != tt.whole {
				t.Errorf("File(%s) = %x, want code equal: %t, whole equal: %t, to %x", tt.name, got, tt.code, tt.whole, want)
			}
		})
	}
}

func file(t *testing.T, h Hasher, path string) Sum {
	t.Helper()
	sum, err := h.File(path)
	if err != nil {
		t.Fatalf("File(%s) = %v", path, err)
	}
	return sum
}

// TestOtherFormats sums what it cannot read as a program byte for byte.
func TestOtherFormats(t *testing.T) {
	binary, err := os.ReadFile(newBuilder(t).build(program))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, a, b string }{
		{"nothing", "", "x"},
		{"a script", "#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 1\n"},
		{"a header alone", string(binary[:16]), string(binary[:15])},
		{"a program cut short", string(binary[:len(binary)/2]), string(binary[:len(binary)/2-1])},
	}
	h := New()
	sum := func(text string) Sum {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file(t, h, path)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := sum(tt.a)
			if again := sum(tt.a); again != a || a.Code != a.Whole {
				t.Errorf("File(a) = %x, then %x, want one sum for all of it", a, again)
			}
			if b := sum(tt.b); b.Code == a.Code || b.Whole == a.Whole {
				t.Errorf("File(b) = %x, want nothing of File(a) = %x", b, a)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "missing")
	if sum, err := New().File(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) || sum != (Sum{}) {
		t.Errorf("File(%s) = %x, %v, want an error that it does not exist", path, sum, err)
	}
	if sum, err := New().File(dir); err == nil || !strings.Contains(err.Error(), dir) || sum != (Sum{}) {
		t.Errorf("File(%s) = %x, %v, want an error that names the directory", dir, sum, err)
	}
}

// TestHashers: a sum means nothing outside of the run that it was made in.
func TestHashers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if a, b := file(t, New(), path), file(t, New(), path); a == b {
		t.Errorf("File = %x by two hashers, want two sums", a)
	}
}
