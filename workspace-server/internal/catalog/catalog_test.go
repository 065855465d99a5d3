package catalog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"workspace-server/internal/workspace"
)

func TestDir(t *testing.T) {
	path := t.TempDir()
	err := errors.Join(
		os.MkdirAll(filepath.Join(path, "b"), 0o755),
		os.MkdirAll(filepath.Join(path, "a", "sub"), 0o755),
		os.MkdirAll(filepath.Join(path, ".hidden"), 0o755),
		os.WriteFile(filepath.Join(path, "a", "x.yaml"), []byte("x"), 0o644),
		os.WriteFile(filepath.Join(path, "file"), nil, 0o644),
		os.Symlink("a", filepath.Join(path, "link")),
		os.Symlink("../a/x.yaml", filepath.Join(path, "b", "x.yaml")),
		syscall.Mkfifo(filepath.Join(path, "a", "pipe"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	d := New(path, "things", "THINGS_DIR")
	var got []string
	look := func(name string, fsys fs.FS) {
		text, err := Read(fsys, "x.yaml")
		if err != nil {
			text = []byte(err.Error())
		}
		got = append(got, name+": "+string(text))
	}
	// What is in one is not in another.
	want := []string{"a: x", "b: x.yaml cannot be opened"}
	if err := d.Each(look); err != nil || !slices.Equal(got, want) {
		t.Errorf("Each() = %q, %v, want %q", got, err, want)
	}
	for name, want := range map[string]bool{"a": true, "file": false, "link": false, "nothing": false, "../x": false, "": false} {
		if found, err := d.One(name, func(string, fs.FS) {}); found != want || err != nil {
			t.Errorf("One(%q) = %v, %v, want %v", name, found, err, want)
		}
	}
	if _, err := d.One("a", func(_ string, fsys fs.FS) {
		if _, err := Read(fsys, "pipe"); err == nil || err.Error() != "pipe is not a file" {
			t.Errorf("Read of a pipe = %v", err)
		}
		if !IsFile(fsys, "x.yaml") || IsFile(fsys, "pipe") || IsFile(fsys, "sub") || IsFile(fsys, "../file") || IsFile(fsys, "none") {
			t.Error("IsFile takes something else for a file")
		}
	}); err != nil {
		t.Error(err)
	}
	none := New(filepath.Join(path, "nothing"), "things", "THINGS_DIR")
	_, oneErr := none.One("a", look)
	for _, err := range []error{none.Check(), none.Each(look), oneErr} {
		if workspace.KindOf(err) != workspace.Unavailable || workspace.Message(err) != "The things cannot be read at the moment." || !strings.Contains(err.Error(), "THINGS_DIR") {
			t.Errorf("without a directory = %v, want Unavailable", err)
		}
	}
}

func TestRead(t *testing.T) {
	fsys := fstest.MapFS{"ok": {Data: make([]byte, MaxText)}, "large": {Data: make([]byte, MaxText+1)}, "d/f": {}}
	for name, want := range map[string]string{"ok": "", "large": "large is larger than 256 KiB", "d": "d is not a file", "none": "none is missing"} {
		if _, err := Read(fsys, name); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("Read(%s) = %v, want %q", name, err, want)
		}
	}
	if _, err := Read(closed{}, "x"); err == nil || err.Error() != "x cannot be opened" {
		t.Errorf("Read in a directory that may not be read = %v", err)
	}
}
