package relay_test

import (
	"os"
	"strings"
	"testing"

	"devloop/internal/relay"
)

// TestUntraced attaches dlv anew when it has missed a thread, for either protocol,
// and gives up when that does not help: a breakpoint would end the server.
func TestUntraced(t *testing.T) {
	t.Run("a process that no one traces", func(t *testing.T) {
		if !relay.Untraced(os.Getpid()) {
			t.Errorf("untraced(%d) = false for this process, want true", os.Getpid())
		}
	})
	t.Run("an editor", func(t *testing.T) {
		h := start(t)
		h.relay.MissThreads(1, 2, 4)
		_, line := h.source(0)
		e := h.connect(true)
		e.attach(line)
		h.hit(e, line)
		if n := strings.Count(h.reports.text(), "attached"); n != 1 {
			t.Errorf("%d attaches were reported, want 1", n)
		}
		h.reload(1)
		h.moved(1)
	})
	t.Run("Delve's own client", func(t *testing.T) {
		h := start(t)
		h.relay.MissThreads(1, 2)
		c := h.delve()
		c.attach()
		if pid := h.supervisor.Serving(); relay.Untraced(pid) {
			t.Errorf("untraced(%d) = true while dlv is attached, want false", pid)
		}
	})
	t.Run("each time", func(t *testing.T) {
		h := start(t)
		h.relay.MissThreads(1, 2, 3)
		c := h.delve()
		err := c.answer(c.begin("GetVersion", arguments{}, &struct{}{}))
		if err == nil || !strings.Contains(err.Error(), "missed a thread") {
			t.Errorf("the first call = %v, want an error that says what dlv missed", err)
		}
		h.undisturbed()
	})
}
