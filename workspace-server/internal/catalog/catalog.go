// Package catalog reads a directory that has one directory for each thing of a
// kind, with a YAML file in it that describes the thing. Nothing is kept in
// memory, so an edit counts from the next request on.
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
	MaxText  = 256 << 10 // bytes in a description
	maxNames = 1000
)

// Dir is such a directory. What is in it, and the setting that names it, are
// for errors.
type Dir struct{ path, what, setting string }

// New returns the directory at a path, which need not exist yet.
func New(path, what, setting string) Dir { return Dir{path, what, setting} }

// Path returns where the directory is.
func (d Dir) Path() string { return d.path }

// Check reports whether the directory can be read at all.
func (d Dir) Check() error {
	root, err := d.Open()
	if err != nil {
		return err
	}
	return root.Close()
}

// Open fails with Unavailable.
func (d Dir) Open() (*os.Root, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, d.unavailable(fmt.Errorf("%s: %w", d.setting, err))
	}
	return root, nil
}

func (d Dir) unavailable(err error) error {
	return workspace.Wrap(workspace.Unavailable, "The "+d.what+" cannot be read at the moment.", err)
}

// Each calls fn with the name of each directory there is, in order, and with
// what is in it. It fails with Unavailable.
func (d Dir) Each(fn func(name string, fsys fs.FS)) error {
	root, err := d.Open()
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return d.unavailable(err)
	}
	count := 0
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if count++; count > maxNames {
			break
		}
		if err := within(root, entry.Name(), fn); err != nil {
			return d.unavailable(err)
		}
	}
	return nil
}

// One calls fn as Each does, with one name, and reports whether there is such a
// directory. It fails with Unavailable.
func (d Dir) One(name string, fn func(name string, fsys fs.FS)) (found bool, err error) {
	root, err := d.Open()
	if err != nil {
		return false, err
	}
	defer root.Close()
	// A link is none, though it may lead to a directory: it would have a
	// second name.
	if info, err := root.Lstat(name); err != nil || !info.IsDir() {
		return false, nil
	}
	if err := within(root, name, fn); err != nil {
		return false, d.unavailable(err)
	}
	return true, nil
}

// within calls fn with what is in a directory. One that cannot be opened is a
// thing that cannot be read, and no reason to hide the others.
func within(root *os.Root, name string, fn func(name string, fsys fs.FS)) error {
	dir, err := root.OpenRoot(name)
	if err != nil {
		fn(name, closed{})
		return nil
	}
	fn(name, dir.FS())
	return dir.Close()
}

// closed is a directory that may not be read.
type closed struct{}

func (closed) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// Read returns the text of a description, from where Stat opens nothing. Its errors are shown to clients, so
// they name no path of the server.
func Read(fsys fs.FS, name string) ([]byte, error) {
	base := path.Base(name)
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing", base)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be opened", base)
	case !info.Mode().IsRegular(): // and opening a pipe would wait
		return nil, fmt.Errorf("%s is not a file", base)
	}
	file, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened", base)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxText+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read", base)
	case len(text) > MaxText:
		return nil, fmt.Errorf("%s is larger than %d KiB", base, MaxText>>10)
	}
	return text, nil
}

// IsFile reports whether there is a file of that name.
func IsFile(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.Mode().IsRegular()
}
