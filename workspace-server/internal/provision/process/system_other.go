//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package process

import (
	"errors"
	"os"
	"syscall"

	"workspace-server/internal/workspace"
)

const (
	signalStop = syscall.SIGTERM
	signalKill = syscall.SIGKILL
)

// tryLock fails, and with it every call of the driver.
func tryLock(*os.File, bool) (bool, error) {
	return false, workspace.Wrap(workspace.Unavailable,
		"This system cannot run agents as processes. Set PROVISIONER=docker to run them in containers.",
		errors.New("this system has no locks that a process can inherit"))
}

func detached() *syscall.SysProcAttr { return nil }

func closeOnExec(int) {}

func killGroup(int) {}

func exitOf(state *os.ProcessState) exitRecord { return exitRecord{Code: state.ExitCode()} }
