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

type thing struct {
	text  string
	wrong []string
}

func (t thing) problems() []string { return t.wrong }

func TestDirectory(t *testing.T) {
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
	d := Directory[thing]{path, kind{"thing", "THINGS_DIR", workspace.NotFound}, func(name string, fsys fs.FS) thing {
		text, err := readText(fsys, "x.yaml")
		if err != nil {
			return thing{name, []string{err.Error()}}
		}
		if name == "a" {
			if _, err := readText(fsys, "pipe"); err == nil || err.Error() != "pipe is not a file" {
				t.Errorf("readText of a pipe = %v", err)
			}
			if !isFile(fsys, "x.yaml") || isFile(fsys, "pipe") || isFile(fsys, "sub") || isFile(fsys, "../file") || isFile(fsys, "none") {
				t.Error("isFile takes something else for a file")
			}
		}
		return thing{name + ": " + string(text), nil}
	}}
	// A directory shows nothing of another one.
	all, err := d.List()
	if err != nil || len(all) != 2 || all[0].text != "a: x" || len(all[0].wrong) != 0 || all[1].text != "b" || !slices.Equal(all[1].wrong, []string{"x.yaml cannot be opened"}) {
		t.Errorf("List() = %q, %v, want a, and b with its problem", all, err)
	}
	if got, err := d.Get("a"); err != nil || got.text != "a: x" {
		t.Errorf("Get(a) = %q, %v, want its text", got, err)
	}
	if _, err := d.Get("b"); workspace.KindOf(err) != workspace.Invalid || workspace.Message(err) != `The thing "b" cannot be used: x.yaml cannot be opened` {
		t.Errorf("Get(b) = %v, want Invalid with its problem", err)
	}
	for _, name := range []string{"file", "link", "nothing", ".hidden", "a/sub", "../x", "..", ".", ""} {
		if _, err := d.Get(name); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Get(%q) = %v, want NotFound", name, err)
		}
	}
	d.path = filepath.Join(path, "nothing")
	_, listErr := d.List()
	_, getErr := d.Get("a")
	for _, err := range []error{d.Check(), listErr, getErr} {
		if workspace.KindOf(err) != workspace.Unavailable || workspace.Message(err) != "The server cannot read its things at the moment." || !strings.Contains(err.Error(), "THINGS_DIR") {
			t.Errorf("without a directory = %v, want Unavailable", err)
		}
	}
}

func TestRead(t *testing.T) {
	fsys := fstest.MapFS{"ok": {Data: make([]byte, maxText)}, "large": {Data: make([]byte, maxText+1)}, "d/f": {}}
	for name, want := range map[string]string{"ok": "", "large": "large is larger than 256 KiB", "d": "d is not a file", "none": "none is missing"} {
		if _, err := readText(fsys, name); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("readText(%s) = %v, want %q", name, err, want)
		}
	}
	if _, err := readText(closed{}, "x"); err == nil || err.Error() != "x cannot be opened" {
		t.Errorf("readText in a directory that cannot be opened = %v", err)
	}
}
