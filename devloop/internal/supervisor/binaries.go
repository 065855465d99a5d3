package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// retainedDir is where binaries are kept, beside the build's output: a hard
// link does not leave a file system.
const retainedDir = ".devloop"

// binaries keeps the files that processes run, so a restart brings back
// the very build that served, even if a later one has replaced the file.
type binaries struct {
	n    int
	kept map[string]bool
	dirs map[string]bool
}

func newBinaries() *binaries {
	return &binaries{kept: make(map[string]bool), dirs: make(map[string]bool)}
}

// keep returns another name for the file as it is now.
func (b *binaries) keep(path string) (string, error) {
	dir := filepath.Join(filepath.Dir(path), retainedDir)
	if !b.dirs[dir] {
		// What an earlier run left behind, if it was killed.
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("clear %s: %w", dir, err)
		}
		b.dirs[dir] = true
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keep the binary: %w", err)
	}
	b.n++
	name := filepath.Join(dir, fmt.Sprintf("%s.%d", filepath.Base(path), b.n))
	if os.Link(path, name) != nil {
		if err := copyFile(name, path); err != nil { // a file system without links
			os.Remove(name)
			return "", fmt.Errorf("keep the binary: %w", err)
		}
	}
	b.kept[name] = true
	return name, nil
}

// keepOnly removes all names but those of the children.
func (b *binaries) keepOnly(children ...*child) {
	needed := make(map[string]bool)
	for _, c := range children {
		if c != nil {
			needed[c.binary] = true
		}
	}
	for name := range b.kept {
		if !needed[name] {
			os.Remove(name)
			delete(b.kept, name)
		}
	}
}

func (b *binaries) close() {
	for dir := range b.dirs {
		os.RemoveAll(dir)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
