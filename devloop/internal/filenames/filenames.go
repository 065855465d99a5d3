// Package filenames translates between the names that an editor has for source
// files and those that a program's debug information has for them. They differ
// where the editor reaches a directory through a symbolic link, and for a program
// that was built with -trimpath, which has import paths instead of directories.
package filenames

import (
	"cmp"
	"debug/buildinfo"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
)

// A place is a directory and what a trimmed name has instead of it.
type place struct{ dir, name string }

// Names translates for one program. The zero value takes names as they are, but
// for symbolic links.
type Names struct {
	places []place // of a trimmed program, the longest directories first
	links  []place // links that the editor's names lead through, and where to
}

// Of reads from a program how it names its sources. Dir is its module's directory.
// Env returns a variable of "go env".
func Of(program, dir string, env func(name string) string) Names {
	info, err := buildinfo.ReadFile(program)
	if err != nil || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-trimpath", Value: "true"}) {
		return Names{}
	}
	n := Names{places: []place{{dir, info.Main.Path}, {filepath.Join(env("GOROOT"), "src"), ""}}}
	modules := env("GOMODCACHE")
	for _, d := range info.Deps {
		used := cmp.Or(d.Replace, d)
		at := filepath.Join(modules, escape(used.Path)+"@"+used.Version)
		switch { // as in go.mod, a directory begins like this
		case filepath.IsAbs(used.Path):
			at = used.Path
		case strings.HasPrefix(used.Path, "./"), strings.HasPrefix(used.Path, "../"):
			at = filepath.Join(dir, used.Path)
		}
		n.places = append(n.places, place{at, d.Path + "@" + d.Version})
	}
	slices.SortStableFunc(n.places, func(a, b place) int { return len(b.dir) - len(a.dir) })
	return n
}

// escape writes a module's path as the module cache does: !x for X.
func escape(path string) string {
	var b strings.Builder
	for _, r := range path {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Program returns the program's name for a file that the editor names.
func (n *Names) Program(path string) string {
	if !filepath.IsAbs(path) {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		n.learn(path, real)
		path = real
	}
	for _, p := range n.places {
		if rest, ok := below(path, p.dir); ok {
			return strings.TrimPrefix(p.name+rest, "/")
		}
	}
	return path
}

// Editor returns the editor's name for a file that the program names.
func (n *Names) Editor(path string) string {
	path = n.File(path)
	for _, l := range n.links {
		if rest, ok := below(path, l.name); ok {
			return l.dir + rest
		}
	}
	return path
}

// File returns where a file is that the program names.
func (n *Names) File(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	best, found := "", place{}
	for _, p := range n.places {
		if rest, ok := below("/"+path, strings.TrimSuffix("/"+p.name, "/")); ok && (found.dir == "" || len(p.name) > len(found.name)) {
			best, found = p.dir+rest, p
		}
	}
	return cmp.Or(best, path)
}

// Linked returns the names of a program for an editor that other names are known of.
func (n Names) Linked(before Names) Names {
	n.links = before.links
	return n
}

// Plain reports whether the editor and the program have the same names, as far as
// is known.
func (n *Names) Plain() bool { return len(n.places) == 0 && len(n.links) == 0 }

// learn notes which directory a link leads to, by a file below it.
func (n *Names) learn(path, real string) {
	for filepath.Base(path) == filepath.Base(real) && path != real {
		path, real = filepath.Dir(path), filepath.Dir(real)
	}
	link := place{path, real}
	if path != real && path != "/" && real != "/" && !slices.Contains(n.links, link) {
		n.links = slices.Insert(n.links, 0, link) // the latest is what the editor shows
	}
}

// below returns what follows on a directory in a path, from the slash on.
func below(path, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && strings.HasPrefix(rest, "/")
}
