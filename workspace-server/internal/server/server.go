// Package server serves HTTP/1.1 on a listening socket that another process may share,
// and gives up its share without losing a request.
//
// A process that replaces this one accepts on the same socket, so connections in the
// kernel's queue are never at risk. Accepted ones are: a client that writes a request
// on a kept-alive connection just as the server closes it gets a reset, and no HTTP
// client may repeat a POST unasked. Drain takes care of those.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a connection. Streams extend their own write deadline.
const (
	readHeaderTimeout = 10 * time.Second
	writeTimeout      = 60 * time.Second
	maxHeaderBytes    = 64 << 10

	// idleTimeout is longer than HTTP clients commonly keep a connection, so that the
	// client closes it, which is free of races.
	idleTimeout = 3 * time.Minute
)

// Server is an HTTP server that can be drained.
type Server struct {
	http     *http.Server
	served   chan struct{} // closed when Serve has returned: no accept is under way
	draining atomic.Bool

	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]struct{}
}

// New returns a server for handler. The errors of net/http go to log.
func New(handler http.Handler, log *slog.Logger) *Server {
	s := &Server{served: make(chan struct{}), conns: map[*conn]struct{}{}}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cw := &closingWriter{ResponseWriter: w, server: s}
			handler.ServeHTTP(cw, r)
			cw.beforeHeader()
		}),
		Protocols:         &protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.connState,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s
}

// Serve accepts connections on ln until Drain is called. It is called once.
func (s *Server) Serve(ln net.Listener) error {
	defer close(s.served)
	s.mu.Lock()
	s.listener = ln
	s.mu.Unlock()
	if s.draining.Load() {
		return ln.Close()
	}
	err := s.http.Serve(trackingListener{ln, s})
	if s.draining.Load() && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Drain closes this process's copy of the listening socket, calls closed, and returns
// when the last connection is gone. After timeout it cuts the remaining connections
// and returns an error.
//
// Every response from now on says "Connection: close". Drain closes a connection
// without a request when its client is unlikely to be about to use it:
//
//   - It has had no request for 850 ms, whether new or kept alive. So a client that
//     keeps asking, even on a busy machine, gets its next request answered and then
//     closes the connection. A client that rests, as a browser does, reaches the new
//     process with its next request.
//   - And neither net/http nor the kernel has received a byte of a request.
//
// One risk remains: a client may take a connection out of its pool after an unusual
// pause and write its request between Drain's last look at the kernel's buffer and the
// arrival of the close, which is the time that a packet travels. HTTP/1.1 has no means
// against that; every server that closes idle connections runs this risk. And if no
// other process holds the socket, closing it resets the connections in its queue.
func (s *Server) Drain(timeout time.Duration, closed func()) error {
	s.draining.Store(true)
	s.mu.Lock()
	ln := s.listener
	s.mu.Unlock()
	if ln != nil {
		// If Serve failed, it has closed the listener and reported the error.
		_ = ln.Close()
	}
	closed()

	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		// Only after Serve has returned are all accepted connections known, so this
		// comes first.
		served := s.hasServed()
		if left := s.closeQuiet(time.Now()); left == 0 && served {
			return s.http.Close()
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return s.cut(timeout)
		}
	}
}

func (s *Server) hasServed() bool {
	select {
	case <-s.served:
		return true
	default:
		return false
	}
}

// closeQuiet closes the connections that no client seems about to use, and returns how
// many remain.
func (s *Server) closeQuiet(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.isQuiet(now) && !hasInput(c.Conn) {
			// net/http notices, and reports the connection as closed.
			_ = c.Close()
		}
	}
	return len(s.conns)
}

func (s *Server) cut(timeout time.Duration) error {
	s.mu.Lock()
	left := len(s.conns)
	s.mu.Unlock()
	return errors.Join(
		fmt.Errorf("%d connections were cut, since they were not done after %v: allow more with DRAIN_TIMEOUT", left, timeout),
		s.http.Close(),
	)
}

// trackingListener records each accepted connection with the server.
type trackingListener struct {
	net.Listener
	server *Server
}

func (l trackingListener) Accept() (net.Conn, error) {
	unblock(l.Listener)
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, state: http.StateNew, since: time.Now()}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.server.conns[c] = struct{}{}
	return c, nil
}

func (s *Server) connState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(s.conns, c)
		return
	}
	c.enter(state, time.Now())
}
