package loop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"devloop/internal/testkit"
)

// TestHalfWritten builds sources that an editor is just writing: no one should
// read what the compiler says of half a file.
func TestHalfWritten(t *testing.T) {
	h := start(t)
	h.serving()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	// A go command after whose end the editor has written the other half.
	rest := filepath.Join(t.TempDir(), "rest")
	if err := os.WriteFile(rest, []byte(version("2", "")), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%q \"$@\"\ncode=$?\n[ ! -e %q ] || mv %q %q\nexit $code\n", real, rest, rest, filepath.Join(h.Dir, versionFile))
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	h.write("")
	if got := testkit.Within(t, "the end of Build", h.background()); got != 0 {
		t.Errorf("Build() = %d, want 0", got)
	}
	h.prints(reloaded + edited)
	h.serves("2")
}
