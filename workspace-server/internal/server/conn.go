package server

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// quiet is how long a connection must be without a request until Drain closes it. It
// lies between the intervals at which programs poll.
const quiet = 850 * time.Millisecond

// conn is an accepted connection. It counts received bytes, since net/http calls it
// idle until the whole header of the next request has arrived.
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

// CloseWrite lets net/http end a response before it closes the connection, so that a
// client that is still sending can read it.
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

// isQuiet reports whether c has no request, and is unlikely to get one.
func (c *conn) isQuiet(now time.Time) bool {
	waits := c.state == http.StateNew || c.state == http.StateIdle
	return waits && c.received.Load() == c.before && now.Sub(c.since) >= quiet
}

// closingWriter puts "Connection: close" into every response whose header it writes
// while the server drains, even if the request arrived before.
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

// FlushError serves http.ResponseController.
func (w *closingWriter) FlushError() error {
	w.beforeHeader()
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController the connection's deadlines.
func (w *closingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
