// Package source knows which files of a Go module decide what a build of it
// yields, and which of them changed.
package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A stamp changes whenever a file does. The change time is what catches a
// file that was moved into place with an older modification time.
type stamp struct {
	size     int64
	modified time.Time
	changed  time.Time
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime(), changeTime(info)} }

// A Tree is the state of files by slash-separated relative path, or by absolute
// path if they are elsewhere.
type Tree map[string]stamp

// Scan reads the state of the module at root: go.mod, go.sum, go.work and all
// .go files but tests, without the directories that the go command ignores
// ("go help packages"), hidden ones, and those named in skip (paths relative
// to root). What cannot be read is left out: the compiler will say so.
func Scan(root string, skip ...string) (Tree, error) {
	tree := make(Tree)
	// WalkDir does not follow a link, the root being no exception.
	if target, err := filepath.EvalSymlinks(root); err == nil {
		root = target
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root {
				return err
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (ignored(d.Name()) || slices.Contains(skip, rel)) {
				return fs.SkipDir
			}
			return nil
		}
		if !Relevant(d.Name()) {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil
		}
		tree[rel] = stampOf(info)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return tree, nil
}

// Relevant reports whether a file of this base name takes part in a build.
func Relevant(name string) bool {
	switch name {
	case "go.mod", "go.sum", "go.work":
		return true
	}
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") &&
		!strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_")
}

func ignored(dir string) bool {
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || dir == "testdata" || dir == "node_modules"
}

// A Change is a file that appeared, vanished or was written.
type Change struct {
	Path  string
	At    time.Time // zero for a file that vanished
	New   bool      // it was not there before
	Empty bool      // an editor may have truncated it, to write it next
}

// Since lists what differs from an earlier state, latest first.
func (t Tree) Since(before Tree) []Change {
	var out []Change
	for path, now := range t {
		if then, ok := before[path]; !ok || then != now {
			out = append(out, Change{path, now.changed, !ok, now.size == 0})
		}
	}
	for path := range before {
		if _, ok := t[path]; !ok {
			out = append(out, Change{Path: path})
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	return out
}

// Find reads the state of the files below root that have one of the extensions,
// without hidden directories and those named in skip (paths relative to root).
func Find(root string, exts, skip []string) Tree {
	tree := make(Tree)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, path)
		if err != nil || relErr != nil {
			return nil
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skip, rel)) {
				return fs.SkipDir
			}
			return nil
		}
		if ext := strings.TrimPrefix(filepath.Ext(path), "."); !slices.Contains(exts, "*") && !slices.Contains(exts, ext) {
			return nil
		}
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			tree[rel] = stampOf(info)
		}
		return nil
	})
	return tree
}
