package process

import (
	"syscall"
	"unsafe"
)

func attributes(onOrphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: onOrphaned}
}

// reap waits for the end of the process and of its group. It kills the group
// before it reaps the leader: while its PID cannot have been reused, and before
// an open output pipe can delay us.
func (p *Process) reap() {
	awaitEnd(p.PID())
	p.killGroup()
	p.wait()
}

// awaitEnd returns once the child has ended, and leaves it unreaped.
func awaitEnd(pid int) {
	const byPID = 1 // P_PID
	var info [128]byte
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid),
			uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}
