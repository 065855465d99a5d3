package supervisor

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// accepting are the modes in which devloop itself accepts.
func accepting(t *testing.T) map[Mode]struct {
	set func(*Supervisor)
	env string
} {
	fixed := freeAddress(t)
	return map[Mode]struct {
		set func(*Supervisor)
		env string
	}{
		Forward: {in(Forward), "SERVE=port"},
		Fixed:   {func(s *Supervisor) { s.Mode, s.Backends = Fixed, []string{fixed} }, "SERVE=" + fixed},
	}
}

// begin sends a request and returns the connection once the answer has begun.
func (h *harness) begin(path, want string) (net.Conn, *bufio.Reader) {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		h.t.Fatal(err)
	}
	// A small buffer: the rest of the answer must not fit.
	r := bufio.NewReaderSize(conn, 16)
	line, _, err := r.ReadLine()
	if err != nil || !strings.HasPrefix(string(line), "HTTP/1.1 "+want) {
		h.t.Fatalf("GET %s = %q, %v, want %s", path, line, err, want)
	}
	return conn, r
}

// TestCloseDoesNotWaitForClients that do not read what they asked for.
func TestCloseDoesNotWaitForClients(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for mode, tt := range accepting(t) {
		for how, ctx := range map[string]context.Context{"": t.Context(), ", at once": canceled} {
			t.Run(string(mode)+how, func(t *testing.T) {
				h := startIn(t, func(s *Supervisor) {
					tt.set(s)
					if how == "" {
						s.StopTimeout = 200 * time.Millisecond
					}
				})
				h.build("1")
				h.swap(h.with(tt.env))
				h.begin("/endless", "200")
				h.begin("/upgrade", "101")
				h.close(ctx)
			})
		}
	}
}

// patient serves in mode Fixed, and waits for an hour until a process has ended.
func patient(t *testing.T) (*harness, Command) {
	t.Helper()
	tt := accepting(t)[Fixed]
	h := startIn(t, func(s *Supervisor) {
		tt.set(s)
		s.StopTimeout = time.Hour
	})
	h.build("1")
	command := h.with(tt.env)
	h.swap(command)
	return h, command
}

// TestFixedCutsStreams replaces a process to which a WebSocket leads: it would not end
// by itself, and everyone waits.
func TestFixedCutsStreams(t *testing.T) {
	h, command := patient(t)
	_, r := h.begin("/upgrade", "101")
	h.build("2")
	swapped := make(chan Swap, 1)
	go func() {
		s, _ := h.Swap(t.Context(), command, true)
		swapped <- s
	}()
	s := testkit.Within(t, "the swap", swapped)
	h.serves("2", s.PID)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("the stream ends with %v, want its end", err)
	}
}

// TestEndDuringExchange ends while an old process has to end before the next can start:
// neither starts any more, and no one waits for the requests of the old one.
func TestEndDuringExchange(t *testing.T) {
	h, command := patient(t)
	held := testkit.Hold(t, h.address, time.Hour)
	h.build("2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	swapped := make(chan error, 1)
	go func() {
		_, err := h.Swap(ctx, command, true)
		swapped <- err
	}()
	testkit.Eventually(t, "the exchange", func() bool { return len(h.Old()) == 1 })
	hard, kill := context.WithCancel(t.Context())
	h.End(hard)
	cancel()
	kill()
	if err := testkit.Within(t, "the end of the swap", swapped); err == nil {
		t.Error("Swap = nil, want that it was ended")
	}
	if err := testkit.Within(t, "the held request", held); err == nil {
		t.Error("the request was answered, want it cut")
	}
	if pid := h.Serving(); pid != 0 {
		t.Errorf("process %d serves after the end", pid)
	}
}
