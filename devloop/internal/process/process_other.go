//go:build !linux

package process

import "syscall"

// Only Linux and FreeBSD know a parent-death signal.
func attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// reap waits for the end of the process, then ends its group.
func (p *Process) reap() {
	p.wait()
	p.killGroup()
}
