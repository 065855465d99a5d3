package supervisor

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"devloop/internal/sockets"
)

// A Mode is the way in which connections come to the server.
type Mode string

// The modes.
const (
	Socket  Mode = "socket"  // the server accepts on the sockets that it inherits
	Forward Mode = "forward" // devloop accepts, and each process has addresses of its own
	Fixed   Mode = "fixed"   // devloop accepts, and the server's address is always the same
	Auto    Mode = "auto"    // what the first process does decides which it is
)

// InMode returns how connections come to the server: Auto until that is known.
func (s *Supervisor) InMode() Mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.way.mode()
}

// A way is what makes the difference between the modes. The supervisor holds
// change during all calls but load and leave.
type way interface {
	mode() Mode
	// describe says for people what the mode means; unsaid is as in a verdict.
	describe(unsaid bool) string
	// equip adds what the process needs in order to be reached.
	equip(p *child, cmd *exec.Cmd)
	// pace is the time between two looks at a process that starts.
	pace() time.Duration
	// look tells whether the process can be reached by now; said is whether it has
	// sent READY=1.
	look(ctx context.Context, p *child, said bool) verdict
	// alone reports whether a process must have ended before the next can start.
	alone() bool
	// lead has new connections go to the process. With nil they wait.
	lead(p *child)
	// passed returns a channel that is closed once a process that was asked to
	// leave takes no new connections, or nil if it gets none in any case.
	passed(p *child) <-chan struct{}
	// leave has a process end that was replaced. It returns once that has ended,
	// or has nothing left to do and does not end, or when ctx is done; then it
	// returns what the process had left.
	leave(ctx context.Context, p *child) Load
	// load returns what a process has to do.
	load(p *child) Load
	// close takes no more connections. It returns a function that waits until all
	// are gone, and cuts those that still are once now is closed, or after a moment:
	// then no process is left.
	close() (wait func(now <-chan struct{}))
}

// A verdict is what a look at a process that starts found.
type verdict struct {
	ready  bool
	unsaid bool   // it is ready without having said so
	failed bool   // it will not become ready
	why    string // it is not
	way    way    // that was chosen, if none was before
}

// A Load is what a process has to do for clients.
type Load struct {
	Requests    int
	Streams     int // upgraded connections, such as WebSockets
	Connections int // where what they carry is not known
}

// String names what there is, and is empty if nothing is.
func (l Load) String() string {
	var parts []string
	for _, part := range []struct {
		n    int
		noun string
	}{{l.Requests, "request"}, {l.Streams, "upgraded connection"}, {l.Connections, "connection"}} {
		switch {
		case part.n == 1:
			parts = append(parts, "1 "+part.noun)
		case part.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", part.n, part.noun))
		}
	}
	return strings.Join(parts, " and ")
}

// A steady thing is one that one look after the other finds.
type steady struct {
	what  string
	since time.Time
}

// lasts takes notice of what a look found and returns for how long it has been so.
func (s *steady) lasts(what string) time.Duration {
	if s.what != what {
		s.what, s.since = what, time.Now()
	}
	return time.Since(s.since)
}

// elsewhere says where a process listens that does not do so where it should.
func elsewhere(v sockets.View) string {
	if ports := portsOf(v.Listening); len(ports) > 0 {
		return "it listens on " + join(ports) + " instead"
	}
	return "it listens nowhere"
}

// portsOf names the ports of listening sockets, each once.
func portsOf(listening []sockets.Socket) []string {
	var out []string
	for _, s := range listening {
		if name := fmt.Sprintf(":%d", s.Local.Port()); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// join lists words as a sentence does.
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
