//go:build !linux

package process

import "syscall"

// attached gives an agent a session of its own. This system cannot end it with its
// keeper: it ends when the server answers that it is not wanted.
func attached() *syscall.SysProcAttr { return detached() }
