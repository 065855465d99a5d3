package process

import "syscall"

// attached gives an agent a session of its own, and has the kernel end it with its
// keeper.
func attached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
