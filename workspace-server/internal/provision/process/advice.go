package process

import (
	"strings"
	"syscall"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// advise adds, to an error that someone can mend, a message that says how. The
// error itself is for the log alone: it may name paths of the server. It matches
// the text of the system's errors, since those of a keeper come as text.
func advise(err error) error {
	if err == nil || provision.IsAbsent(err) || workspace.KindOf(err) != workspace.Internal {
		return err
	}
	for _, a := range []struct {
		errnos []syscall.Errno
		advice string
	}{
		{
			[]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT},
			"The disk that holds STATE_DIRECTORY is full. Free space on it.",
		},
		{
			[]syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS},
			"The server lacks a permission that it needs to run agents. Let its user write to STATE_DIRECTORY, and execute the server's program.",
		},
		{
			[]syscall.Errno{syscall.ENOTDIR},
			"A file is in the place of a directory below STATE_DIRECTORY. Move it away: the server's log names it.",
		},
		{
			[]syscall.Errno{syscall.EMFILE, syscall.ENFILE},
			"The server has too many files open to start an agent. Raise its limit of open files.",
		},
		{
			[]syscall.Errno{syscall.EAGAIN, syscall.ENOMEM},
			"The server's machine has no room for another process. Pause workspaces, or raise its limits of processes and memory.",
		},
		{
			[]syscall.Errno{syscall.E2BIG},
			"The workspace's secrets are too long to be passed to an agent. Shorten or remove some.",
		},
	} {
		for _, errno := range a.errnos {
			if strings.Contains(err.Error(), errno.Error()) {
				return workspace.Wrap(workspace.Unavailable, a.advice, err)
			}
		}
	}
	return err
}
