//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// removeReadOnly makes a directory that os.RemoveAll cannot remove, and removes it.
func removeReadOnly(dir string) int {
	deep := filepath.Join(dir, "go", "pkg", "mod")
	err := errors.Join(os.MkdirAll(deep, 0o700), os.WriteFile(filepath.Join(deep, "file"), nil, 0o400), os.Chmod(deep, 0o500), os.Chmod(filepath.Dir(deep), 0o500))
	if err == nil && os.RemoveAll(dir) == nil {
		err = errors.New("it can be removed at once")
	}
	if err := errors.Join(err, removeAll(dir)); err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := os.Lstat(dir); err == nil {
		fmt.Println("it is still there")
		return 1
	}
	return 0
}

// An agent's directories can be removed with any mode.
func TestRemoveAll(t *testing.T) {
	t.Parallel()
	top, err := os.MkdirTemp("/tmp", "ws")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	cmd, err := self("remove", filepath.Join(top, "home"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir, cmd.Env = "/", []string{quiet + "=atexit_sleep_ms=0"}
	if os.Getuid() == 0 { // root may remove everything
		const nobody = 65534
		if err := os.Chown(top, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("remove what cannot be written to: %v\n%s", err, out)
	}
}
