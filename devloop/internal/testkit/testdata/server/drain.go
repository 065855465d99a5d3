package main

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// quiet is how long a connection must be without a request until it is
// closed: a client that keeps asking uses it before, and is told to close. This
// is why it is not left to net/http's Shutdown, which closes idle connections
// at once, just when a client may be writing to one. It is longer than a busy
// machine keeps a client from doing so.
const quiet = 5 * time.Second

// A server can be drained without losing a request.
type server struct {
	http     http.Server
	draining atomic.Bool
	served   chan struct{} // closed once no accept runs

	mu    sync.Mutex
	ln    net.Listener
	conns map[*conn]struct{}
}

// conn counts what it received: net/http calls a connection idle until it has
// the whole header of the next request.
type conn struct {
	net.Conn
	received atomic.Int64

	state  http.ConnState
	since  time.Time
	before int64 // received when the state began
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func newServer(h http.Handler) *server {
	s := &server{served: make(chan struct{}), conns: make(map[*conn]struct{})}
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&closing{w, s, false}, r)
	})
	s.http.ConnState = func(nc net.Conn, state http.ConnState) {
		c := nc.(*conn)
		s.mu.Lock()
		defer s.mu.Unlock()
		if state == http.StateClosed || state == http.StateHijacked {
			delete(s.conns, c)
			return
		}
		c.state, c.since, c.before = state, time.Now(), c.received.Load()
	}
	return s
}

func (s *server) Serve(ln net.Listener) error {
	defer close(s.served)
	s.mu.Lock()
	s.ln = ln
	s.mu.Unlock()
	if s.draining.Load() {
		return ln.Close()
	}
	return s.http.Serve(listening{ln, s})
}

// listening makes accepted connections known to the server.
type listening struct {
	net.Listener
	s *server
}

func (l listening) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, state: http.StateNew, since: time.Now()}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.conns[c] = struct{}{}
	return c, nil
}

// Drain stops accepting, calls stopped, and returns once no one is connected.
func (s *server) Drain(stopped func()) {
	s.draining.Store(true)
	s.mu.Lock()
	if s.ln != nil {
		_ = s.ln.Close()
	}
	s.mu.Unlock()
	<-s.served
	stopped()
	for s.closeQuiet() > 0 {
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *server) closeQuiet() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		without := c.state == http.StateIdle || c.state == http.StateNew
		if without && time.Since(c.since) > quiet && c.received.Load() == c.before && !hasInput(c.Conn) {
			_ = c.Close()
		}
	}
	return len(s.conns)
}

func hasInput(nc net.Conn) bool {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	var n int
	var buf [1]byte
	_ = raw.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0
}

// closing tells the client to close its connection while the server drains.
type closing struct {
	http.ResponseWriter
	s     *server
	wrote bool
}

func (w *closing) header() {
	if !w.wrote && w.s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	w.wrote = true
}

func (w *closing) WriteHeader(status int) {
	w.header()
	w.ResponseWriter.WriteHeader(status)
}

func (w *closing) Write(p []byte) (int, error) {
	w.header()
	return w.ResponseWriter.Write(p)
}

func (w *closing) FlushError() error {
	w.header()
	return http.NewResponseController(w.ResponseWriter).Flush()
}
