package private_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"workspace-server/internal/private"
)

func TestCreateAndReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "file")
	if _, err := private.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of nothing = %v, want fs.ErrNotExist", err)
	}
	steps := []struct {
		call string
		do   func() (bool, error)
		made bool
		want string
	}{
		{"Create(one)", func() (bool, error) { return private.Create(path, []byte("one")) }, true, "one"},
		{"Create(two)", func() (bool, error) { return private.Create(path, []byte("two")) }, false, "one"},
		{"Replace(three)", func() (bool, error) { return true, private.Replace(path, []byte("three")) }, true, "three"},
		{"Replace(nothing)", func() (bool, error) { return true, private.Replace(path, nil) }, true, ""},
	}
	for _, s := range steps {
		made, err := s.do()
		text, readErr := private.Read(path)
		if err != nil || readErr != nil || made != s.made || string(text) != s.want {
			t.Errorf("%s = %v, %v, then Read = %q, %v, want %v and %q", s.call, made, err, text, readErr, s.made, s.want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v, want 0600", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v, want the file alone", left, err)
	}
}

// Of many that create at once one wins, and no one sees half a file.
func TestCreateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var made atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			ok, err := private.Create(path, bytes.Repeat([]byte{byte('a' + i)}, 1000))
			if ok {
				made.Add(1)
			}
			text, readErr := private.Read(path)
			if err != nil || readErr != nil || len(text) != 1000 || bytes.Count(text, text[:1]) != 1000 {
				t.Errorf("Create, then Read = %v, %v, %d bytes, want 1000 of one kind", err, readErr, len(text))
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("%d calls made the file, want one", n)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o400: "", 0o640: "run 'chmod 600", 0o604: "run 'chmod 600", 0o620: "run 'chmod 600"} {
		path := filepath.Join(dir, fmt.Sprintf("%o", mode))
		if err := errors.Join(os.WriteFile(path, []byte("hidden"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		_, err := private.Read(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("Read of mode %o = %v, want %q", mode, err, want)
		}
	}
	if _, err := private.Read(dir); err == nil {
		t.Error("Read of a directory succeeds")
	}
	if made, err := private.Create(filepath.Join(dir, "600", "x"), nil); err == nil || made {
		t.Errorf("Create below a file = %v, %v, want an error", made, err)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(string) error{
		"file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"link": func(path string) error { return os.Symlink("nowhere", path) },
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if err := private.Directory(path); err == nil {
			t.Errorf("Directory() where a %s is = nil, want an error", name)
		}
	}
	path := filepath.Join(dir, "a", "b")
	for range 2 {
		err := private.Directory(path)
		if info, statErr := os.Stat(path); err != nil || statErr != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("Directory() = %v, %v %v, want a directory of mode 0700", err, info, statErr)
		}
	}
}

// TestDirectoryAtOnce makes a directory while others make and remove it.
func TestDirectoryAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5_000 {
				if err := private.Directory(path); err != nil {
					t.Errorf("Directory() = %v", err)
					return
				}
				_ = os.Remove(path) // another may have been first
			}
		})
	}
	all.Wait()
}
