package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

// TestOutputVanishes removes the build's whole directory while its program
// serves. The program is restarted all the same, and the next build recovers.
func TestOutputVanishes(t *testing.T) {
	h := start(t)
	h.limits.probation = 0
	h.build("1")
	pid := h.swap(h.command).PID
	dir := filepath.Dir(h.path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s, err := h.Swap(t.Context(), h.command, false)
	if missing, ok := errors.AsType[*MissingError](err); !ok || missing.Path != h.path || !strings.Contains(err.Error(), dir+" was removed") {
		t.Errorf("Swap without the directory = %+v, %v, want that it was removed", s, err)
	}
	h.serves("1", pid)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Swap(t.Context(), h.command, false); err == nil || !strings.Contains(err.Error(), h.path+" was removed") {
		t.Errorf("Swap without the binary = %v, want that it was removed", err)
	}
	for n := range 2 {
		if err := os.RemoveAll(filepath.Join(dir, retainedDir)); err != nil {
			t.Fatal(err)
		}
		h.crash()
		h.serves("1", h.reports.wait(t, "restarted", n+1).pid)
	}
	h.build("2")
	h.swap(h.command)
	h.serves("2", 0)
}

// TestNoRoom has nowhere to keep a binary but the spare directory.
func TestNoRoom(t *testing.T) {
	dir, spare := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "server")
	if err := os.WriteFile(path, []byte("a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := newBinaries(spare)
	b.dirs[filepath.Join(dir, retainedDir)] = true
	if err := os.WriteFile(filepath.Join(dir, retainedDir), nil, 0o600); err != nil { // no directory can be made
		t.Fatal(err)
	}
	name, err := b.keep(path)
	if err != nil || filepath.Dir(name) != spare {
		t.Fatalf("keep() = %s, %v, want a name in %s", name, err, spare)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	again, err := b.find(name)
	if text, _ := os.ReadFile(again); err != nil || string(text) != "a program" {
		t.Errorf("find(%s) = %s, %v with %q, want the program", name, again, err, text)
	}
	if err := os.RemoveAll(spare); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spare, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := b.find(name); err == nil || !strings.Contains(err.Error(), "no room for a copy of the binary") {
		t.Errorf("find(%s) = %s, %v, want that there is no room", name, again, err)
	}
	before := testkit.FDs(t)
	b.keepOnly()
	if after := testkit.FDs(t); len(after) != len(before)-1 {
		t.Errorf("descriptors after keepOnly: %v, want one less than %v", after, before)
	}
}
