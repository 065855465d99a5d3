package notify

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func listen(t *testing.T) *Socket {
	t.Helper()
	s, err := Listen(filepath.Join(testkit.ShortDir(t), "notify"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func send(t *testing.T, s *Socket, messages ...string) {
	t.Helper()
	conn, err := net.Dial("unixgram", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, m := range messages {
		if _, err := conn.Write([]byte(m)); err != nil {
			t.Fatalf("send %q: %v", m, err)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestStates(t *testing.T) {
	// Each case is followed by what ends the reading, so that a state that
	// must not be seen is known to have been read.
	tests := []struct {
		name            string
		messages        []string
		ready, stopping bool
	}{
		{"ready", []string{"READY=1"}, true, false},
		{"stopping", []string{"STOPPING=1"}, false, true},
		{"with a newline", []string{"READY=1\n"}, true, false},
		{"several lines", []string{"MAINPID=7\nREADY=1\nSTATUS=all is well"}, true, false},
		{"both in one", []string{"READY=1\nSTOPPING=1\n"}, true, true},
		{"twice", []string{"READY=1", "READY=1", "STOPPING=1", "STOPPING=1"}, true, true},
		{"not ready", []string{"READY=0", "READY=10", "XREADY=1", "ready=1", "STATUS=READY=1"}, false, false},
		{"empty message", []string{""}, false, false},
		{"after an empty message", []string{"", "READY=1"}, true, false},
		{"after junk", []string{"\x00\xff\n\n=\n", "READY=1"}, true, false},
		{"after a message longer than any state", []string{strings.Repeat("X", 3*maxMessage), "READY=1"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t)
			send(t, s, tt.messages...)
			if tt.ready {
				testkit.Within(t, "READY=1", s.Ready())
			}
			if tt.stopping {
				testkit.Within(t, "STOPPING=1", s.Stopping())
			}
			if !tt.stopping {
				send(t, s, "STOPPING=1")
				testkit.Within(t, "the last message", s.Stopping())
			}
			if got := isClosed(s.Ready()); got != tt.ready {
				t.Errorf("after %q: ready = %v, want %v", tt.messages, got, tt.ready)
			}
		})
	}
}

func TestClose(t *testing.T) {
	s := listen(t)
	s.Close()
	if _, err := os.Lstat(s.Path()); !os.IsNotExist(err) {
		t.Errorf("Lstat(%s) after Close = %v, want no such file", s.Path(), err)
	}
	if isClosed(s.Ready()) || isClosed(s.Stopping()) {
		t.Error("Close made the socket ready or stopping")
	}
	s.Close()
}

func TestListenFails(t *testing.T) {
	taken := listen(t).Path()
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 108))
	for _, path := range []string{taken, long, filepath.Join(t.TempDir(), "missing", "notify")} {
		if s, err := Listen(path); err == nil {
			s.Close()
			t.Errorf("Listen(%s) = nil, want an error", path)
		}
	}
	if _, err := os.Lstat(taken); err != nil {
		t.Errorf("a failed Listen removed another's socket: %v", err)
	}
}
