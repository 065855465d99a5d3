// Package private keeps small files that nobody but the server's user may
// read, and directories. Each file is there whole or not at all, whatever ends
// the server.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSize bounds what is read: whatever is larger is no file of ours.
const maxSize = 1 << 20

// Read returns a file's text. It fails with fs.ErrNotExist, and when others
// than the user may read the file.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read %s: run 'chmod 600 %s', and replace what is in it if they might have", path, path)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("%s is too large to be what it is taken for", path)
	}
	text := make([]byte, info.Size())
	n, err := f.ReadAt(text, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text[:n], nil
}

// Directory makes a directory with those that it is in, unless it is there, also
// while others make and remove the same one: os.MkdirAll fails with fs.ErrExist
// when it is removed just after another has made it.
func Directory(path string) error {
	for {
		err := os.MkdirAll(path, 0o700)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, lookErr := os.Lstat(path); lookErr == nil && !info.IsDir() {
			return err
		}
	}
}

// Create writes a new file and reports whether it did: one that is there is
// left alone, also if another process has just made it. Directories are made.
func Create(path string, text []byte) (made bool, err error) {
	err = write(path, text, func(temporary string) error {
		defer os.Remove(temporary) // what it names has another name by then
		return os.Link(temporary, path)
	})
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// Replace writes a file, in the place of one that may be there.
func Replace(path string, text []byte) error {
	return write(path, text, func(temporary string) error { return os.Rename(temporary, path) })
}

// write makes a file beside path, which place puts there.
func write(path string, text []byte, place func(temporary string) error) error {
	dir := filepath.Dir(path)
	if err := Directory(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := place(f.Name()); err != nil {
		_ = os.Remove(f.Name()) // it may be gone
		return err
	}
	return sync(dir)
}

// sync has a directory keep its names through a power cut.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
