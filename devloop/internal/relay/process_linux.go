package relay

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// dead reports whether a process has ended, even if no one has reaped it yet
// (proc_pid_stat(5)): its tracer must, before its parent can.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err)
	}
	_, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return len(after) > 0 && (after[0] == 'Z' || after[0] == 'X')
}

// trapPending reports whether a SIGTRAP waits for a paused process
// (proc_pid_status(5)). Dlv stops a process by that signal; when the process
// stops by itself at that moment, the signal is left, and would end a process
// that no one traces any more.
func trapPending(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false // it has ended
	}
	_, after, _ := bytes.Cut(status, []byte("\nShdPnd:"))
	mask, _, _ := bytes.Cut(after, []byte("\n"))
	pending, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
	return err == nil && pending&(1<<(syscall.SIGTRAP-1)) != 0
}

// untraced reports whether a process has a thread that no debugger traces
// (proc_pid_status(5)). Dlv lists the threads once when it attaches, and misses
// one that another thread starts meanwhile. A breakpoint would end the process
// there.
func untraced(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return false // not with this pattern
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err == nil && bytes.Contains(status, []byte("\nTracerPid:\t0\n")) {
			return true
		}
	}
	return false
}
