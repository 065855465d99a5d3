package serve

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// quiet is how long a connection must be without a request until Drain closes it.
	// It lies between the intervals at which programs poll.
	quiet = 850 * time.Millisecond

	// stalled is how long Drain waits for the next byte of a request's header.
	stalled = 10 * time.Second
)

// conn is an accepted connection. It counts received bytes, since net/http calls it
// idle until the whole header of the next request has arrived.
type conn struct {
	net.Conn
	server   *Server
	received atomic.Int64
	frames   atomic.Pointer[frames] // what is sent, for HTTP/2 without TLS

	// Guarded by server.mu.
	state   http.ConnState
	since   time.Time // of the state
	before  int64     // received when the state began
	last    int64     // received at Drain's previous look
	changed time.Time // when Drain saw another number of received bytes
	http2   bool
	closing bool // Drain is closing it
	tls     *tls.Conn
	watched bool // someone waits for the end of the TLS handshake
	shaken  bool // the TLS handshake is over
}

// NetConn returns the connection as it was accepted.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if f := c.frames.Load(); f != nil {
		return f.write(p)
	}
	return c.Conn.Write(p)
}

// ReadFrom lets the kernel copy a file. HTTP/2 does not use it.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// CloseWrite lets net/http end a response before it closes the connection, so that a
// client that is still sending can read it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn. For a hijacked connection nothing else tells its end.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.conns, c)
	return err
}

// enter records a change of state.
func (c *conn) enter(state http.ConnState, now time.Time) {
	c.state, c.since, c.before = state, now, c.received.Load()
}

// isQuiet reports whether c has no request, and is unlikely to get one. Drain calls it
// again and again.
func (c *conn) isQuiet(now time.Time) bool {
	if c.http2 || c.state != http.StateNew && c.state != http.StateIdle {
		return false
	}
	received := c.received.Load()
	if received != c.last || c.changed.IsZero() {
		c.last, c.changed = received, now
	}
	// A handshake's bytes are no request's.
	if received != c.before || c.tls != nil && c.state == http.StateNew && received > 0 && !c.shaken {
		return now.Sub(c.changed) >= stalled
	}
	return now.Sub(c.since) >= quiet
}

// watchHandshake has the end of a TLS handshake counted as the beginning of the
// connection. The caller holds s.mu.
func (s *Server) watchHandshake(c *conn) {
	if c.tls == nil || c.state != http.StateNew || c.watched {
		return
	}
	c.watched = true
	tc := c.tls
	go func() {
		// It waits for net/http's call, or is the one that net/http waits for.
		if tc.Handshake() != nil {
			return // net/http closes the connection
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c.shaken = true
		if c.state == http.StateNew {
			c.enter(http.StateNew, time.Now())
		}
	}()
}
