//go:build !linux

package process

import "syscall"

// attached has a process lead a session of its own. Where the system has no way
// to end it with its keeper, it ends when the server does not want it any more.
func attached() *syscall.SysProcAttr { return detached() }
