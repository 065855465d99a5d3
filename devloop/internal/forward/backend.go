package forward

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Load is what a backend has in flight.
type Load struct {
	Requests    int // not yet answered to the end
	Streams     int // upgraded connections, such as WebSockets
	Connections int // passed through as they are: TLS
}

func (l Load) sum() int { return l.Requests + l.Streams + l.Connections }

// A kind is one of Load's.
type kind byte

const (
	requests kind = iota
	streams
	connections
)

func (l *Load) add(k kind, n int) {
	switch k {
	case requests:
		l.Requests += n
	case streams:
		l.Streams += n
	case connections:
		l.Connections += n
	}
}

// A Backend is one process of the server: where it listens, and what it was
// given to do. One that was replaced does not come back; NewBackend makes
// another for the same address.
type Backend struct {
	addr    string
	idle    chan struct{}
	retired context.Context // done once it was replaced
	retire  context.CancelFunc
	closed  context.Context // done once it was closed
	cut     context.CancelFunc
	trust   atomic.Int64 // a time.Duration: how long an idle connection is as good as a new one
	moved   atomic.Int64 // when something came on an upgraded connection, in nanoseconds

	mu    sync.Mutex
	load  Load
	links map[*link]struct{}
}

// maxTrust bounds how long after its last use a connection may carry a request
// that cannot be sent twice. Servers close idle connections after some seconds,
// and then the request and the closing may cross. A new connection costs little
// here.
const maxTrust = 250 * time.Millisecond

// NewBackend returns a backend that listens at a TCP address.
func NewBackend(addr string) *Backend {
	b := &Backend{addr: addr, idle: make(chan struct{}), links: make(map[*link]struct{})}
	b.retired, b.retire = context.WithCancel(context.Background())
	b.closed, b.cut = context.WithCancel(context.Background())
	b.trust.Store(int64(maxTrust))
	return b
}

// Addr returns where the backend listens.
func (b *Backend) Addr() string { return b.addr }

// Load returns what is in flight.
func (b *Backend) Load() Load {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.load
}

// Quiet returns for how long nothing has come on any upgraded connection.
func (b *Backend) Quiet() time.Duration { return time.Since(time.Unix(0, b.moved.Load())) }

// Idle returns a channel that is closed once the backend was replaced and has
// nothing left in flight.
func (b *Backend) Idle() <-chan struct{} { return b.idle }

// Close cuts what is in flight, and whatever comes. It is for a backend whose
// process is gone, or has to go.
func (b *Backend) Close() {
	b.cut()
	b.mu.Lock()
	links := make([]*link, 0, len(b.links))
	for l := range b.links {
		links = append(links, l)
	}
	b.mu.Unlock()
	for _, l := range links {
		l.close()
	}
}

// replace is called once no route leads here any more.
func (b *Backend) replace() {
	b.mu.Lock()
	if b.retired.Err() != nil {
		b.mu.Unlock()
		return
	}
	b.retire()
	var unused []*link
	for l := range b.links {
		if l.uses == 0 {
			unused = append(unused, l)
			delete(b.links, l)
		}
	}
	nothing := b.load.sum() == 0
	b.mu.Unlock()
	for _, l := range unused {
		l.close()
	}
	if nothing {
		close(b.idle)
	}
}

// A link is a connection to a backend, or several that belong together.
type link struct {
	backend *Backend
	uses    int // guarded by the backend
	close   func()
}

// begin counts something new, unless the backend takes nothing new. The link
// that it will use may be nil.
func (b *Backend) begin(k kind, l *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.retired.Err() != nil || b.closed.Err() != nil {
		return false
	}
	b.load.add(k, 1)
	if l != nil {
		l.uses++
	}
	return true
}

// attach registers the link that something begun now uses. It reports whether
// the backend is still open.
func (b *Backend) attach(l *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Err() != nil {
		return false
	}
	l.backend, l.uses = b, l.uses+1
	b.links[l] = struct{}{}
	return true
}

// detach forgets a link that the caller closes.
func (b *Backend) detach(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, l)
}

// become counts as another kind what was begun as one.
func (b *Backend) become(from, to kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.load.add(from, -1)
	b.load.add(to, 1)
}

// end is begin's opposite. It reports whether the link may be used again.
func (b *Backend) end(k kind, l *link) bool {
	b.mu.Lock()
	b.load.add(k, -1)
	retired := b.retired.Err() != nil
	if l != nil {
		if l.uses--; l.uses == 0 && retired {
			delete(b.links, l)
		}
	}
	nothing := retired && b.load.sum() == 0
	b.mu.Unlock()
	if nothing {
		close(b.idle)
	}
	return !retired
}

// distrust takes notice that the backend closed a connection which had been
// idle for some time.
func (b *Backend) distrust(idle time.Duration) {
	if most := int64(idle / 2); most < b.trust.Load() {
		b.trust.Store(most)
	}
}
