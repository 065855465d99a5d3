package source

import (
	"crypto/sha256"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Set is what one build reads, but for the Go distribution and the module
// cache, which no one edits. All paths in it are absolute.
type Set struct {
	Root     string   // what the paths of a Tree are relative to
	Modules  []Module // looked through as a whole: what a build could read once it is mended
	Packages []string // directories of packages
	Embeds   []Embed
	Files    []string // others, whether they exist or not: go.mod, go.work, …

	// Ignore, if it is set, leaves out files by the name that a Tree has for them.
	Ignore func(name string) bool
}

// A Module is a directory to look through, but for the directories in Skip,
// which are relative to it.
type Module struct {
	Dir  string
	Skip []string
}

// An Embed is a pattern of a //go:embed directive, in the directory of its package.
type Embed struct{ Dir, Pattern string }

// Scan reads the state of the set. A file is named relative to Root if it is
// below it. What cannot be read is left out: the compiler will say so.
func (s *Set) Scan() (Tree, error) {
	t := make(Tree)
	for _, m := range s.Modules {
		found, err := Scan(m.Dir, m.Skip...)
		if err != nil {
			return nil, err
		}
		for name, stamp := range found {
			t[s.name(filepath.Join(m.Dir, filepath.FromSlash(name)))] = stamp
		}
	}
	for _, dir := range s.Packages {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !e.IsDir() && isInput(e.Name()) {
				s.add(t, filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, e := range s.Embeds {
		s.embedded(t, e)
	}
	for _, f := range s.Files {
		s.add(t, f)
	}
	return t, nil
}

// name is how a Tree names a file.
func (s *Set) name(file string) string {
	if rel, err := filepath.Rel(s.Root, file); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return file
}

// Path returns the absolute path of a file in a Tree.
func (s *Set) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Root, filepath.FromSlash(name))
}

func (s *Set) add(t Tree, file string) {
	name := s.name(file)
	if s.Ignore != nil && s.Ignore(name) {
		return
	}
	if info, err := os.Stat(file); err == nil && !info.IsDir() {
		t[name] = stampOf(info)
	}
}

// embedded adds the files that a pattern matches now (package embed).
func (s *Set) embedded(t Tree, e Embed) {
	pattern, all := strings.CutPrefix(e.Pattern, "all:")
	tree := os.DirFS(e.Dir)
	matches, _ := fs.Glob(tree, pattern)
	for _, match := range matches {
		_ = fs.WalkDir(tree, match, func(name string, d fs.DirEntry, err error) error {
			switch base := path.Base(name); {
			case err != nil:
				return nil
			case name != match && !all && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")):
				if d.IsDir() {
					return fs.SkipDir
				}
			case !d.IsDir():
				s.add(t, filepath.Join(e.Dir, filepath.FromSlash(name)))
			case name != ".":
				if _, err := os.Stat(filepath.Join(e.Dir, filepath.FromSlash(name), "go.mod")); err == nil {
					return fs.SkipDir // another module
				}
			}
			return nil
		})
	}
}

// Directories returns those that the files of a tree are in.
func (s *Set) Directories(t Tree) []string {
	seen := make(map[string]bool)
	var out []string
	for name := range t {
		if dir := filepath.Dir(s.Path(name)); !seen[dir] {
			seen[dir] = true
			out = append(out, dir)
		}
	}
	slices.Sort(out)
	return out
}

// isInput reports whether the go command may compile a file of this name in a
// package's directory (go help packages, go help c), or reads it as a profile.
func isInput(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || strings.HasSuffix(name, "_test.go") {
		return false
	}
	switch filepath.Ext(name) {
	case ".go", ".c", ".cc", ".cpp", ".cxx", ".m", ".h", ".hh", ".hpp", ".hxx",
		".f", ".F", ".for", ".f90", ".s", ".S", ".sx", ".swig", ".swigcxx", ".syso":
		return true
	}
	return name == "default.pgo"
}

// Onto returns an earlier state as it is to be compared with a state of another
// set, now. A file that the earlier set did not have counts as unchanged if it
// was written before a time: that of the build which read it.
func (t Tree) Onto(s *Set, now Tree, before time.Time) Tree {
	out := make(Tree, len(now))
	for name, stamp := range now {
		if then, ok := t[name]; ok {
			out[name] = then
		} else if stamp.changed.Before(before) {
			out[name] = stamp
		}
	}
	for name, stamp := range t {
		if _, ok := now[name]; ok {
			continue
		}
		if _, err := os.Stat(s.Path(name)); err != nil {
			out[name] = stamp // not left out, but gone
		}
	}
	return out
}

// A Header is what of a Go file decides which files a build reads: its
// constraints, imports and //go:embed directives.
type Header [sha256.Size]byte

// HeaderOf reads a file's header. It fails if that cannot be told.
func HeaderOf(file string) (Header, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Header{}, err
	}
	positions := token.NewFileSet()
	parsed, err := parser.ParseFile(positions, file, text, parser.ImportsOnly)
	if err != nil {
		return Header{}, err
	}
	end := parsed.Name.End()
	for _, d := range parsed.Decls {
		if imports, ok := d.(*ast.GenDecl); ok {
			end = max(end, imports.End())
		}
	}
	h := sha256.New()
	offset := positions.Position(end).Offset
	h.Write(text[:offset])
	for line := range strings.Lines(string(text[offset:])) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "//go:embed") {
			h.Write([]byte(line + "\n"))
		}
	}
	return Header(h.Sum(nil)), nil
}
