// Package catalog reads templates and plugins from disk. Both are directories
// with a YAML file that describes them. Nothing stays in memory, so an edit
// counts from the next request on.
package catalog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"workspace-server/internal/workspace"
)

// Limits of what is read.
const (
	maxText  = 256 << 10 // bytes of a description
	maxItems = 1000
)

// An item is a template or a plugin.
type item interface {
	// problems returns what keeps the item from being used, in words.
	problems() []string
}

// A Directory has one directory for each item of a kind.
type Directory[T item] struct {
	path string
	kind kind
	load func(name string, fsys fs.FS) T
}

// A kind is what errors say about a directory's items.
type kind struct {
	item    string         // such as "template"
	setting string         // names the directory
	absent  workspace.Kind // of the error when there is no such item
}

// Check fails with Unavailable if the directory cannot be opened.
func (d Directory[T]) Check() error {
	root, err := d.open()
	if err != nil {
		return err
	}
	return root.Close()
}

// List returns all items, ordered by name, those with problems included. It fails
// with Unavailable.
func (d Directory[T]) List() ([]T, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, d.unavailable(err)
	}
	all := []T{}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if len(all) == maxItems {
			break
		}
		one, err := d.read(root, entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// Get returns an item without problems. It fails with Invalid if the item has
// problems, and with Unavailable. If there is no such item it fails with Invalid
// for a template, and with NotFound for a plugin.
func (d Directory[T]) Get(name string) (T, error) {
	var none T
	root, err := d.open()
	if err != nil {
		return none, err
	}
	defer root.Close()
	// A link to an item would give it a second name.
	if info, err := root.Lstat(name); err != nil || !info.IsDir() || strings.HasPrefix(name, ".") || strings.Contains(name, "/") {
		return none, workspace.Errorf(d.kind.absent, "There is no %s %.80q.", d.kind.item, name)
	}
	one, err := d.read(root, name)
	if err != nil {
		return none, err
	}
	if problems := one.problems(); len(problems) > 0 {
		return none, workspace.Errorf(workspace.Invalid, "The %s %q cannot be used: %s", d.kind.item, name, strings.Join(problems, "; "))
	}
	return one, nil
}

func (d Directory[T]) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, d.unavailable(fmt.Errorf("%s: %w", d.kind.setting, err))
	}
	return root, nil
}

func (d Directory[T]) unavailable(err error) error {
	return workspace.Wrap(workspace.Unavailable, "The server cannot read its "+d.kind.item+"s at the moment.", err)
}

// read loads the item in a directory below root. If that cannot be opened, the
// item's problems say so, and List shows the other items.
func (d Directory[T]) read(root *os.Root, name string) (T, error) {
	dir, err := root.OpenRoot(name)
	if err != nil {
		return d.load(name, closed{}), nil
	}
	one := d.load(name, dir.FS())
	if err := dir.Close(); err != nil {
		return one, d.unavailable(err)
	}
	return one, nil
}

// closed is a directory that cannot be opened.
type closed struct{}

func (closed) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// readText returns the text of a description. Clients see its errors, so they
// name no path of the server.
func readText(fsys fs.FS, name string) ([]byte, error) {
	base := path.Base(name)
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing", base)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be opened", base)
	case !info.Mode().IsRegular(): // opening a pipe would wait for a writer
		return nil, fmt.Errorf("%s is not a file", base)
	}
	file, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened", base)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxText+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read", base)
	case len(text) > maxText:
		return nil, fmt.Errorf("%s is larger than %d KiB", base, maxText>>10)
	}
	return text, nil
}

// isFile reports whether name is a regular file.
func isFile(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.Mode().IsRegular()
}
