package process

import "syscall"

// attached has a process lead a session of its own, and end with its keeper.
func attached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
