package supervisor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// retainedDir is where binaries are kept, beside the build's output: a hard
// link does not leave a file system.
const retainedDir = ".devloop"

// binaries keeps the files that processes run, so a restart brings back
// the very build that served, even if a later one has replaced the file.
type binaries struct {
	n     int
	kept  map[string]*os.File // by name; the file is there even when the name is gone
	dirs  map[string]bool
	spare string // directory for copies where the build's output leaves no room
}

func newBinaries(spare string) *binaries {
	return &binaries{kept: make(map[string]*os.File), dirs: make(map[string]bool), spare: spare}
}

// A MissingError is a binary that is not where the build should have put it.
type MissingError struct{ Path string }

func (e *MissingError) Error() string {
	if _, err := os.Stat(filepath.Dir(e.Path)); errors.Is(err, fs.ErrNotExist) {
		return filepath.Dir(e.Path) + " was removed, and the binary with it: save a file, and the next build brings them back"
	}
	return e.Path + " was removed: save a file, and the next build brings it back"
}

// keep returns another name for the file as it is now.
func (b *binaries) keep(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &MissingError{path}
	}
	if err != nil {
		return "", fmt.Errorf("keep the binary: %w", err)
	}
	dir := filepath.Join(filepath.Dir(path), retainedDir)
	if !b.dirs[dir] {
		os.RemoveAll(dir) // what an earlier run left behind, if it was killed
		b.dirs[dir] = true
	}
	b.n++
	name := filepath.Join(dir, fmt.Sprintf("%s.%d", filepath.Base(path), b.n))
	if os.MkdirAll(dir, 0o755) != nil || os.Link(path, name) != nil {
		// A file system without links, or without room.
		if name, err = b.write(name, file); err != nil {
			file.Close()
			return "", err
		}
	}
	b.kept[name] = file
	return name, nil
}

// find returns the name under which a kept binary is there: what has been
// removed since, with the whole directory, is written again.
func (b *binaries) find(name string) (string, error) {
	file := b.kept[name]
	if file == nil {
		return name, nil
	}
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	return b.write(name, file)
}

// write copies a binary to the name, or to the spare directory if that is not
// possible, and returns where it is.
func (b *binaries) write(name string, file *os.File) (string, error) {
	err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), copyTo(name, file))
	if err == nil {
		return name, nil
	}
	spare := filepath.Join(b.spare, filepath.Base(name))
	if copyTo(spare, file) == nil {
		return spare, nil
	}
	return "", fmt.Errorf("there is no room for a copy of the binary: %w", err)
}

// keepOnly removes all names but those of the children.
func (b *binaries) keepOnly(children ...*child) {
	needed := make(map[string]bool)
	for _, c := range children {
		if c != nil {
			needed[c.binary] = true
		}
	}
	for name, file := range b.kept {
		if !needed[name] {
			os.Remove(name)
			os.Remove(filepath.Join(b.spare, filepath.Base(name)))
			file.Close()
			delete(b.kept, name)
		}
	}
}

func (b *binaries) close() {
	b.keepOnly()
	for dir := range b.dirs {
		os.RemoveAll(dir)
	}
}

// copyTo writes what the file holds to a name, whole or not at all.
func copyTo(name string, from *os.File) error {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(from, 0, 1<<62))
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(name)
	}
	return err
}
