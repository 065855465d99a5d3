package relay_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"

	"devloop/internal/supervisor"
	"devloop/internal/testkit"
)

// TestReloadsInOtherModes keeps one session over reloads of servers at which devloop
// accepts: beside the next process, and where the old one must have ended before.
// Each reload falls into a pause at the breakpoint, with a request that waits.
func TestReloadsInOtherModes(t *testing.T) {
	always := ""
	for always == "" { // below the ports that connections get by themselves
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))); err == nil {
			always = l.Addr().String()
			l.Close()
		}
	}
	tests := []struct {
		mode     supervisor.Mode
		env      string
		backends []string
	}{
		{supervisor.Forward, "SERVE=port", nil},
		{supervisor.Fixed, "SERVE=" + always, []string{always}},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode), func(t *testing.T) {
			h := startIn(t, tt.mode, tt.env, tt.backends...)
			_, line := h.source(0)
			e := h.connect(true)
			e.attach(line)
			for shift := 1; shift <= 3; shift++ {
				h.hit(e, line)
				waiting := h.get("/debugged")
				e.event("stopped")
				_, line = h.source(shift)
				e.move(line)
				h.reload(shift)
				h.moved(shift)
				h.served(waiting)
			}
			h.hit(e, line)
			if err := syscall.Kill(h.supervisor.Serving(), syscall.SIGKILL); err != nil { // as when it crashes
				t.Fatal(err)
			}
			h.moved(4)
			h.hit(e, line)
			if n := e.count("terminated") + e.count("exited"); n > 0 {
				t.Errorf("%d events announced an end during the session, want 0", n)
			}
			e.call("disconnect", nil)
			e.event("terminated")
			h.undisturbed()
			if n := strings.Count(h.reports.text(), "crashed"); n != 1 {
				t.Errorf("the server crashed %d times, want once", n)
			}
			testkit.Eventually(t, "the end of all but one process", func() bool { return len(h.supervisor.Old()) == 0 })
		})
	}
}
