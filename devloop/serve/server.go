package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves as an [http.Server] does, and can be drained.
type Server struct {
	given    *http.Server // the caller's; it has the functions to run when the drain begins
	http     *http.Server // serves
	http2    *http.Server // has the HTTP/2 connections of http, in order to say GOAWAY to them
	draining atomic.Bool

	mu        sync.Mutex
	prepared  bool                      // http2 is
	listeners map[net.Listener]struct{} // an accept may be under way on these
	conns     map[*conn]struct{}
}

// New returns a server that has the fields of server, which must not change from then
// on. Handlers may use all that net/http lets them use: flushing, hijacking, trailers,
// HTTP/2, [http.ResponseController]. Where net/http hands out a connection, its method
// NetConn returns the one that was accepted.
func New(server *http.Server) *Server {
	s := &Server{
		given: server, http: copied(server), http2: copied(server),
		listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{},
	}
	handler := server.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			handler.ServeHTTP(w, r)
			return
		}
		cw := &closingWriter{ResponseWriter: w, server: s}
		handler.ServeHTTP(cw, r)
		cw.beforeHeader()
	})
	s.http.ConnState = s.connState
	s.http2.BaseContext = nil // not for a listener that it does not have
	return s
}

// copied returns a server with the exported fields of another one. The others are
// net/http's own, and must not be copied.
func copied(server *http.Server) *http.Server {
	to := &http.Server{}
	fields, from := reflect.ValueOf(to).Elem(), reflect.ValueOf(server).Elem()
	for i := range fields.NumField() {
		if fields.Type().Field(i).IsExported() {
			fields.Field(i).Set(from.Field(i))
		}
	}
	to.TLSConfig = server.TLSConfig.Clone() // net/http adds to these
	to.TLSNextProto = maps.Clone(server.TLSNextProto)
	return to
}

// Serve accepts connections on ln until the server is stopped, and returns nil then. It
// may be called for several listeners. For TLS use ServeTLS, rather than a listener that
// speaks TLS.
func (s *Server) Serve(ln net.Listener) error {
	return s.accept(ln, func(server *http.Server, ln net.Listener) error { return server.Serve(ln) })
}

// ServeTLS is Serve for TLS. The files are not needed if the server's TLSConfig has a
// certificate.
func (s *Server) ServeTLS(ln net.Listener, certFile, keyFile string) error {
	return s.accept(ln, func(server *http.Server, ln net.Listener) error { return server.ServeTLS(ln, certFile, keyFile) })
}

func (s *Server) accept(ln net.Listener, serve func(*http.Server, net.Listener) error) error {
	if !s.begin(ln) {
		return ln.Close() // it was stopped already
	}
	defer s.end(ln)
	if err := s.prepareHTTP2(serve); err != nil {
		return errors.Join(err, ln.Close())
	}
	err := serve(s.http, trackingListener{ln, s})
	if s.draining.Load() && (errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed)) {
		return nil
	}
	return err
}

func (s *Server) begin(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

func (s *Server) end(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// Stop closes this process's copy of the listening sockets and runs the functions that
// were registered with [http.Server.RegisterOnShutdown]. From then on every response of
// HTTP/1 says "Connection: close", and HTTP/2 says GOAWAY, so that clients come back on
// new connections. Requests go on; [Server.Drain] waits for them.
//
// If no other process holds a socket, closing it resets the connections in its queue.
func (s *Server) Stop() {
	s.mu.Lock()
	again := s.draining.Swap(true)
	var listeners []net.Listener
	for ln := range s.listeners {
		listeners = append(listeners, ln)
	}
	s.mu.Unlock()
	if again {
		return
	}
	// If Serve failed, it has closed the listener and reported the error.
	_ = closeAll(listeners)
	// Neither has connections or listeners of its own, so there is nothing to wait for.
	_ = s.given.Shutdown(context.Background())
	s.goAway()
}

// Drain stops the server, if it was not stopped yet, and returns when the last
// connection is gone. It waits for requests as long as they take, and for connections
// that a handler has hijacked, such as WebSockets, until the handler closes them. When
// ctx is done it cuts what is left, and returns a *[CutError].
//
// Drain closes a connection without a request when its client is unlikely to be about
// to use it:
//
//   - It has had no request for 850 ms, whether new or kept alive. So a client that
//     keeps asking, even on a busy machine, gets its next request answered and then
//     closes the connection. A client that rests, as a browser does, reaches the new
//     process with its next request.
//   - And neither net/http nor the kernel has received a byte of a request. One whose
//     rest does not come within 10 s is given up.
//
// One risk remains: a client may take a connection out of its pool after an unusual
// pause and write its request between Drain's last look at the kernel's buffer and the
// arrival of the close, which is the time that a packet travels. HTTP/1.1 has no means
// against that; every server that closes idle connections runs this risk. With HTTP/2 and
// TLS, net/http refuses a request that crosses its GOAWAY, and clients send that again,
// unless its body cannot be sent twice. Without TLS it is answered.
func (s *Server) Drain(ctx context.Context) error {
	s.Stop()
	started := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if s.closeQuiet(time.Now()) == 0 {
			return s.http.Close()
		}
		interval := 5 * time.Millisecond
		if time.Since(started) > 2*quiet {
			interval = 50 * time.Millisecond // what is left takes longer
		}
		timer.Reset(interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return s.cut()
		}
	}
}

// closeQuiet closes the connections that no client seems about to use, and returns how
// many remain, including those that may still be accepted.
func (s *Server) closeQuiet(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		s.watchHandshake(c)
		if c.closing || !c.isQuiet(now) || hasInput(c.Conn) {
			continue
		}
		c.closing = true
		if c.tls != nil {
			go c.tls.Close() // it says so to the client, which takes time
			continue
		}
		// net/http notices.
		_ = c.Conn.Close()
		delete(s.conns, c)
	}
	// Only when no accept is under way are all accepted connections known.
	return len(s.conns) + len(s.listeners)
}

// A CutError says what was cut by [Server.Drain].
type CutError struct {
	Connections int // all of them
	Hijacked    int // of these, those that a handler had taken over, such as WebSockets
}

// Error implements error.
func (e *CutError) Error() string {
	text := fmt.Sprintf("%d connections were cut", e.Connections)
	if e.Hijacked > 0 {
		text += fmt.Sprintf(", %d of them WebSockets or the like", e.Hijacked)
	}
	return text
}

func (s *Server) cut() error {
	s.mu.Lock()
	e := &CutError{Connections: len(s.conns)}
	var left []*conn
	for c := range s.conns {
		left = append(left, c)
		if c.state == http.StateHijacked {
			e.Hijacked++
		}
	}
	s.mu.Unlock()
	err := s.http.Close()
	for _, c := range left {
		_ = c.Close() // net/http does not know those that were hijacked
	}
	if e.Connections == 0 {
		return err
	}
	return errors.Join(e, err)
}

// trackingListener records each accepted connection with the server.
type trackingListener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l trackingListener) Accept() (net.Conn, error) {
	unblock(l.Listener)
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, ok := nc.(*tls.Conn); ok {
		return nil, errors.Join(errors.New("the listener speaks TLS: pass the one below it, and call ServeTLS"), nc.Close())
	}
	c := &conn{Conn: nc, server: l.server, state: http.StateNew, since: time.Now()}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.server.conns[c] = struct{}{}
	return c, nil
}

// connState follows what net/http does with a connection.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	if c, ok := tracked(nc); ok {
		s.mu.Lock()
		if tc, ok := nc.(*tls.Conn); ok {
			c.tls = tc
		}
		c.enter(state, time.Now())
		late := c.http2 && s.draining.Load()
		s.mu.Unlock()
		if late {
			s.goAway()
		}
	}
	if s.given.ConnState != nil {
		s.given.ConnState(nc, state)
	}
}

// tracked returns our connection below one of net/http's.
func tracked(nc net.Conn) (*conn, bool) {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	c, ok := nc.(*conn)
	return c, ok
}
