//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// The signals to a keeper: ask the agent to end, and end it at once.
const (
	signalStop = syscall.SIGTERM
	signalKill = syscall.SIGUSR1
)

// tryLock takes a lock on a file, alone or shared, unless another holds it. The lock
// belongs to the open file, which child processes can inherit, and is released
// when the last of them closes it.
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

// detached gives a process a session of its own, apart from the terminal and its signals.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// killGroup ends an agent and the processes that it started, if any run.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// exitOf says how a process ended, with the exit code that a shell reports.
func exitOf(state *os.ProcessState) exitRecord {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitRecord{128 + int(status.Signal()), fmt.Sprintf("The agent was ended by a signal: %v.", status.Signal())}
	}
	return exitRecord{state.ExitCode(), fmt.Sprintf("The agent exited with code %d.", state.ExitCode())}
}
