//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package process

import (
	"errors"
	"os"
	"syscall"
)

const (
	signalStop = syscall.SIGTERM
	signalKill = syscall.SIGKILL
)

// tryLock fails, and so does everything else of the driver.
func tryLock(*os.File, bool) (bool, error) {
	return false, errors.New("this system has no locks that a process can inherit: run agents in containers")
}

func detached() *syscall.SysProcAttr { return nil }

func closeOnExec(int) {}

func killGroup(int) {}

func exitOf(state *os.ProcessState) exitRecord { return exitRecord{Code: state.ExitCode()} }
