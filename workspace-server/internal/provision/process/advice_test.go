//go:build linux

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

func TestAdvise(t *testing.T) {
	t.Parallel()
	const path = "/srv/state/agents/ws_a"
	failing := func(errno syscall.Errno) error { return &fs.PathError{Op: "mkdir", Path: path, Err: errno} }
	tests := []struct {
		err  error
		want string // what the owner of the workspace reads; empty: nothing
	}{
		{failing(syscall.ENOSPC), "The disk that holds STATE_DIRECTORY is full. Free space on it."},
		{failing(syscall.EDQUOT), "The disk that holds STATE_DIRECTORY is full. Free space on it."},
		{errors.New("the agent does not run: write " + path + "/instance.json: no space left on device"), "The disk that holds STATE_DIRECTORY is full. Free space on it."},
		{failing(syscall.EACCES), "The server lacks a permission that it needs to run agents. Let its user write to STATE_DIRECTORY, and execute the server's program."},
		{failing(syscall.EROFS), "The server lacks a permission that it needs to run agents. Let its user write to STATE_DIRECTORY, and execute the server's program."},
		{failing(syscall.ENOTDIR), "A file is in the place of a directory below STATE_DIRECTORY. Move it away: the server's log names it."},
		{failing(syscall.EMFILE), "The server has too many files open to start an agent. Raise its limit of open files."},
		{failing(syscall.EAGAIN), "The server's machine has no room for another process. Pause workspaces, or raise its limits of processes and memory."},
		{failing(syscall.E2BIG), "The workspace's secrets are too long to be passed to an agent. Shorten or remove some."},
		{workspace.Errorf(workspace.Conflict, "The workspace was started again in the meantime."), "The workspace was started again in the meantime."},
		{failing(syscall.EIO), ""},
		{errors.New("password=hunter2"), ""},
	}
	for _, tt := range tests {
		err := advise(fmt.Errorf("start generation 1: %w", tt.err))
		if !errors.Is(err, tt.err) {
			t.Errorf("advise(%v) = %v, which is another error", tt.err, err)
		}
		if told := workspace.KindOf(err) != workspace.Internal; told != (tt.want != "") || told && workspace.Message(err) != tt.want {
			t.Errorf("advise(%v) tells the owner %q, want %q", tt.err, workspace.Message(err), tt.want)
		}
	}
	if err := advise(nil); err != nil {
		t.Errorf("advise(nil) = %v, want nil", err)
	}
	if err := advise(provision.Absent("ws_a")); !provision.IsAbsent(err) {
		t.Errorf("advise of no instance = %v, want that it is absent", err)
	}
}

// What keeps an agent from starting reaches the owner of its workspace, without a
// path of the server.
func TestStartAdvises(t *testing.T) {
	t.Parallel()
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := agent(t, 1)
	long.Env["SECRET"] = strings.Repeat("a", 1<<20)
	tests := []struct {
		name, dir string
		spec      provision.Spec
		want      string
	}{
		{"a file in the way", inTheWay, agent(t, 1), "A file is in the place of a directory below STATE_DIRECTORY. Move it away: the server's log names it."},
		{"a secret that is too long", install(t), long, "The workspace's secrets are too long to be passed to an agent. Shorten or remove some."},
	}
	for _, tt := range tests {
		d := newDriver(t, tt.dir)
		_, err := d.Start(t.Context(), tt.spec)
		if workspace.KindOf(err) != workspace.Unavailable || workspace.Message(err) != tt.want {
			t.Errorf("%s: Start = %v, want it to tell the owner %q", tt.name, err, tt.want)
		}
		if tt.dir != inTheWay {
			mustRemove(t, d)
		}
	}
}
