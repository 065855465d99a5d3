package supervisor

import (
	"math"
	"syscall"
	"testing"
	"time"
)

func TestForgiven(t *testing.T) {
	tests := []struct {
		end  end
		want int
	}{
		{end{code: 1}, 0},
		{end{code: 2}, 0}, // a panic
		{end{signal: syscall.SIGSEGV, code: -1}, 0},
		{end{signal: syscall.SIGABRT, code: -1}, 0},
		{end{signal: syscall.SIGKILL, code: -1}, 1},
		{end{code: 0}, 3},
		{end{code: 130}, 3},
		{end{code: 143}, 3},
		{end{code: 137}, 0}, // of a child of its own that was killed
		{end{signal: syscall.SIGTERM, code: -1}, math.MaxInt},
		{end{signal: syscall.SIGINT, code: -1}, math.MaxInt},
		{end{signal: syscall.SIGHUP, code: -1}, math.MaxInt},
		{end{code: 1, stopping: true}, math.MaxInt}, // log.Fatal(http.ErrServerClosed)
	}
	for _, tt := range tests {
		if got := forgiven(tt.end); got != tt.want {
			t.Errorf("forgiven(%+v) = %d, want %d", tt.end, got, tt.want)
		}
	}
}

// TestStoppedByItsOwner stops a build just after it took over: that is no reason
// to bring back the one before.
func TestStoppedByItsOwner(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			h := start(t)
			h.limits.probation = time.Hour
			h.limits.minBackoff, h.limits.maxBackoff = time.Millisecond, time.Millisecond
			h.build("1")
			h.swap(h.command)
			h.build("2")
			pid := h.swap(h.command).PID
			for i := range 5 {
				if err := syscall.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
				if e := h.reports.wait(t, "crashed", i+1); e.pid != pid || e.rolledBack {
					t.Errorf("Crashed%+v, want pid %d, not rolled back", e, pid)
				}
				pid = h.reports.wait(t, "restarted", i+1).pid
				h.serves("2", pid)
			}
		})
	}
}
