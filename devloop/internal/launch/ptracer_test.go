//go:build linux

package launch

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// tracer names the process that this test program is to trace.
const tracer = "TEST_LAUNCH_TRACE"

// TestTraced: a sibling of the program, as dlv is, may trace it, also where the kernel
// has Yama.
func TestTraced(t *testing.T) {
	if pid := os.Getenv(tracer); pid != "" {
		runtime.LockOSThread() // the tracer is a thread
		n, err := strconv.Atoi(pid)
		if err == nil {
			err = syscall.PtraceAttach(n)
		}
		if err != nil {
			t.Fatalf("trace %s: %v", pid, err)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(n, &status, syscall.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if err := syscall.PtraceDetach(n); err != nil {
			t.Fatal(err)
		}
		return
	}
	program := exec.Command("sleep", "60")
	l, err := Wrap(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = program.Process.Kill() // it may be gone
		_ = program.Wait()         // killed
	}()
	if err := l.Wait(); err != nil {
		t.Fatal(err)
	}
	sibling := exec.Command("/proc/self/exe", "-test.run=^TestTraced$")
	sibling.Env = append(os.Environ(), tracer+"="+strconv.Itoa(program.Process.Pid))
	if out, err := sibling.CombinedOutput(); err != nil {
		t.Errorf("a sibling cannot trace the program: %v\n%s", err, out)
	}
}
