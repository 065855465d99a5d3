package server

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// quiet is how long a connection has to be without a request until Drain closes
// it; see there. It lies between the intervals that programs poll at.
const quiet = 850 * time.Millisecond

// conn is an accepted connection. It counts what it received, since net/http
// calls it idle until the whole header of the next request is there.
type conn struct {
	net.Conn
	received atomic.Int64

	// Guarded by Server.mu.
	state  http.ConnState
	since  time.Time // of the state
	before int64     // received when the state began
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

// CloseWrite lets net/http end a response before it closes the connection, so
// that a client that is still sending gets to read it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// enter records a change of state.
func (c *conn) enter(state http.ConnState, now time.Time) {
	c.state, c.since, c.before = state, now, c.received.Load()
}

// isQuiet reports whether no request is under way on c and none is expected.
func (c *conn) isQuiet(now time.Time) bool {
	waits := c.state == http.StateNew || c.state == http.StateIdle
	return waits && c.received.Load() == c.before && now.Sub(c.since) >= quiet
}

// closingWriter says "Connection: close" on every response whose header is
// written while the server drains, also when its request came before.
type closingWriter struct {
	http.ResponseWriter
	server *Server
	wrote  bool
}

func (w *closingWriter) beforeHeader() {
	if !w.wrote && w.server.draining.Load() {
		w.Header().Set("Connection", "close")
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *closingWriter) WriteHeader(status int) {
	w.beforeHeader()
	w.wrote = w.wrote || status >= 200
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *closingWriter) Write(p []byte) (int, error) {
	w.beforeHeader()
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController calls to flush.
func (w *closingWriter) FlushError() error {
	w.beforeHeader()
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController the deadlines of the connection.
func (w *closingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
