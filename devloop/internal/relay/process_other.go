//go:build !linux

package relay

import (
	"errors"
	"syscall"
)

// dead reports whether a process has ended.
func dead(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// trapPending reports false: dlv stops a process by that signal on Linux only.
func trapPending(int) bool { return false }

// untraced reports false: only Linux traces threads one by one.
func untraced(int) bool { return false }
