package launch

import (
	"os"
	"syscall"
)

// prSetPtracer is PR_SET_PTRACER of prctl(2).
const prSetPtracer = 0x59616d61

// allowTracer lets the parent, and what it starts, such as a debugger, trace the
// program, even where the kernel lets only a process's ancestors do so (Yama's
// ptrace_scope 1). This outlives exec, called by the thread that leads the process,
// as init is. A kernel without Yama needs no leave, and refuses to give it.
func allowTracer() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetPtracer, uintptr(os.Getppid()), 0)
}
