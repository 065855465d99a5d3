package source

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A module is a directory with files.
type module struct {
	t   *testing.T
	dir string
}

func (m module) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	m.must(os.MkdirAll(filepath.Dir(path), 0o755))
	m.must(os.WriteFile(path, []byte(text), 0o644))
}

func (m module) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m module) scan(skip ...string) Tree {
	m.t.Helper()
	tree, err := Scan(m.dir, skip...)
	m.must(err)
	return tree
}

func newModule(t *testing.T) module {
	m := module{t, t.TempDir()}
	for _, name := range []string{"go.mod", "go.sum", "main.go", "a/a.go", "a/b/b.go"} {
		m.write(name, "old")
	}
	return m
}

// tick returns once the clock that files are stamped by has moved on: it may
// stand still for 10 ms (inode(7)), in which an edit does not show.
func (m module) tick() {
	m.t.Helper()
	probe := filepath.Join(m.t.TempDir(), "probe")
	stamp := func() time.Time {
		m.must(os.WriteFile(probe, nil, 0o644))
		info, err := os.Stat(probe)
		m.must(err)
		return changeTime(info)
	}
	for first := stamp(); !stamp().After(first); {
	}
}

func paths(changes []Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.Path)
	}
	slices.Sort(out)
	return out
}

func TestSince(t *testing.T) {
	tests := []struct {
		name string
		edit func(m module)
		want []string
	}{
		{"nothing", func(module) {}, nil},
		{"written", func(m module) { m.write("a/a.go", "newer") }, []string{"a/a.go"}},
		{"written with the same size", func(m module) { m.write("a/a.go", "new") }, []string{"a/a.go"}},
		{"new", func(m module) { m.write("a/c.go", "") }, []string{"a/c.go"}},
		{"new with its directories", func(m module) { m.write("x/y/z/z.go", "") }, []string{"x/y/z/z.go"}},
		{"go.mod, go.sum, go.work", func(m module) {
			m.write("go.mod", "newer")
			m.write("go.sum", "newer")
			m.write("go.work", "")
			m.write("a/go.mod", "")
		}, []string{"a/go.mod", "go.mod", "go.sum", "go.work"}},
		{"deleted", func(m module) { m.must(os.Remove(filepath.Join(m.dir, "a/a.go"))) }, []string{"a/a.go"}},
		{"directory deleted", func(m module) { m.must(os.RemoveAll(filepath.Join(m.dir, "a"))) }, []string{"a/a.go", "a/b/b.go"}},
		{"renamed", func(m module) {
			m.must(os.Rename(filepath.Join(m.dir, "a/a.go"), filepath.Join(m.dir, "a/z.go")))
		}, []string{"a/a.go", "a/z.go"}},
		{"moved into place with an older time", func(m module) {
			m.write("saved", "new")
			old, err := os.Stat(filepath.Join(m.dir, "main.go"))
			m.must(err)
			saved := filepath.Join(m.dir, "saved")
			m.must(os.Chtimes(saved, old.ModTime(), old.ModTime()))
			m.must(os.Rename(saved, filepath.Join(m.dir, "main.go")))
		}, []string{"main.go"}},
		{"replaced by a directory", func(m module) {
			m.must(os.Remove(filepath.Join(m.dir, "main.go")))
			m.must(os.Mkdir(filepath.Join(m.dir, "main.go"), 0o755))
		}, []string{"main.go"}},
		{"link to a file", func(m module) {
			m.must(os.Symlink("main.go", filepath.Join(m.dir, "link.go")))
		}, []string{"link.go"}},
		{"link to nowhere", func(m module) {
			m.must(os.Symlink("nowhere", filepath.Join(m.dir, "link.go")))
		}, nil},
		{"not part of a build", func(m module) {
			for _, name := range []string{
				"main_test.go", "a/a_test.go", "README.md", "a/x.txt", ".hidden.go", "_ignored.go", "x.go~", "#x.go#", "a/.#a.go",
				".git/x.go", ".hidden/x.go", "a/_ignored/x.go", "testdata/x.go", "a/testdata/b/x.go", "node_modules/x/x.go",
			} {
				m.write(name, "new")
			}
		}, nil},
		{"skipped", func(m module) {
			m.write("tmp/x.go", "new")
			m.write("a/tmp/x.go", "new")
		}, []string{"a/tmp/x.go"}},
		{"a directory that cannot be read", func(m module) {
			if os.Getuid() == 0 {
				m.t.Skip("root reads every directory")
			}
			dir := filepath.Join(m.dir, "a")
			m.must(os.Chmod(dir, 0))
			m.t.Cleanup(func() { m.must(os.Chmod(dir, 0o755)) })
			m.write("main.go", "newer")
		}, []string{"a/a.go", "a/b/b.go", "main.go"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModule(t)
			before := m.scan("tmp")
			m.tick()
			tt.edit(m)
			changes := m.scan("tmp").Since(before)
			if got := paths(changes); !slices.Equal(got, tt.want) {
				t.Errorf("Since() = %v, want %v", got, tt.want)
			}
			for _, c := range changes {
				if age := time.Since(c.At); !c.At.IsZero() && (age < 0 || age > time.Minute) {
					t.Errorf("%s changed %v ago, want just now", c.Path, age)
				}
			}
		})
	}
}

func TestSinceOrder(t *testing.T) {
	at := func(s int) stamp { return stamp{changed: time.Unix(int64(s), 0)} }
	before := Tree{"gone1.go": at(1), "same.go": at(1), "early.go": at(1), "gone2.go": at(1)}
	now := Tree{"same.go": at(1), "early.go": at(2), "late.go": at(9), "also-early.go": at(2)}
	want := []Change{
		{Path: "late.go", At: time.Unix(9, 0), New: true, Empty: true},
		{Path: "also-early.go", At: time.Unix(2, 0), New: true, Empty: true},
		{Path: "early.go", At: time.Unix(2, 0), Empty: true},
		{Path: "gone1.go"},
		{Path: "gone2.go"},
	}
	if got := now.Since(before); !slices.Equal(got, want) {
		t.Errorf("Since() = %v, want %v", got, want)
	}
	if got := len(now.Since(nil)); got != len(now) {
		t.Errorf("Since(nil) lists %d files, want all %d", got, len(now))
	}
}

func TestScanOfALink(t *testing.T) {
	m := newModule(t)
	link := filepath.Join(t.TempDir(), "link")
	m.must(os.Symlink(m.dir, link))
	got, err := Scan(link)
	if want := m.scan(); err != nil || len(got.Since(want)) > 0 || len(got) != len(want) {
		t.Errorf("Scan(link) = %v, %v, want %v", got, err, want)
	}
}

func TestScanOfNothing(t *testing.T) {
	if got, err := Scan(filepath.Join(t.TempDir(), "missing")); err != nil || len(got) != 0 {
		t.Errorf("Scan(missing) = %v, %v, want nothing: the go command will complain", got, err)
	}
}

func TestRelevant(t *testing.T) {
	for name, want := range map[string]bool{
		"main.go": true, "go.mod": true, "go.sum": true, "go.work": true, "x_linux.go": true, "test.go": true, "x_tests.go": true,
		"x_test.go": false, "_test.go": false, ".x.go": false, "_x.go": false, "go.work.sum": false, "main.go.bak": false, "go": false, "": false, "x.GO": false,
	} {
		if got := Relevant(name); got != want {
			t.Errorf("Relevant(%q) = %v, want %v", name, got, want)
		}
	}
}
