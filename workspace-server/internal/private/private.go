// Package private writes and reads small files that only the server's user may
// read. A file exists whole or not at all, whatever ends the server.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSize is the largest file, in bytes, that Read accepts: ours are smaller.
const maxSize = 1 << 20

// Read returns a file's text. It fails with fs.ErrNotExist, and if anyone but the
// user may read the file.
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
		return nil, fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read %s: run 'chmod 600 %s', and replace its content if someone may have read it", path, path)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("%s is larger than %d bytes, so it is not a file of this program", path, maxSize)
	}
	text := make([]byte, info.Size())
	n, err := f.ReadAt(text, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text[:n], nil
}

// Directory makes a directory and its parents unless they exist, also while others
// make and remove them: os.MkdirAll fails with fs.ErrExist if another process makes
// the directory and then removes it.
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

// Create writes a new file and reports whether it did: it leaves an existing file
// alone, also one that another process has just made. It makes the directories.
func Create(path string, text []byte) (made bool, err error) {
	err = write(path, text, func(temporary string) error {
		defer os.Remove(temporary) // the file keeps its other name
		return os.Link(temporary, path)
	})
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// Replace writes a file, and replaces one that exists.
func Replace(path string, text []byte) error {
	return write(path, text, func(temporary string) error { return os.Rename(temporary, path) })
}

// write makes a file beside path, which place then gives its name.
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
		_ = os.Remove(f.Name()) // it may not exist any more
		return err
	}
	return sync(dir)
}

// sync makes a directory's names survive a power cut.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
