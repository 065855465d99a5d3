//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// What a keeper is told: to ask the agent to end, and to end it.
const (
	signalStop = syscall.SIGTERM
	signalKill = syscall.SIGUSR1
)

// tryLock takes a lock on a file, alone or with others, unless it is taken. It
// belongs to what was opened, also in the processes that inherit that, and goes
// when the last of them has closed it.
func tryLock(f *os.File, alone bool) (bool, error) {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var lockErr error
	if err := raw.Control(func(fd uintptr) {
		for {
			lockErr = syscall.Flock(int(fd), how|syscall.LOCK_NB)
			if !errors.Is(lockErr, syscall.EINTR) {
				return
			}
		}
	}); err != nil {
		return false, err
	}
	if errors.Is(lockErr, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if lockErr != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), lockErr)
	}
	return true, nil
}

// detached sets a process apart from the terminal and its signals.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// killGroup ends an agent with what it started, and does nothing if all have ended.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// exitOf says how a process ended, with the code that a shell would give.
func exitOf(state *os.ProcessState) exit {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exit{128 + int(status.Signal()), fmt.Sprintf("The agent was ended by a signal: %v.", status.Signal())}
	}
	return exit{state.ExitCode(), fmt.Sprintf("The agent exited with code %d.", state.ExitCode())}
}
