package relay

import (
	"bytes"
	"fmt"
	"os"
)

// dead reports whether a process has ended, be it that nobody has reaped it
// yet (proc_pid_stat(5)): whoever traces a process has to, before its parent.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err)
	}
	_, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return len(after) > 0 && (after[0] == 'Z' || after[0] == 'X')
}
