package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A client is a connection that the proxy accepted.
type client struct {
	proxy  *Proxy
	conn   *net.TCPConn
	origin netip.Addr      // from where its backend is reached, if valid
	ctx    context.Context // done once the client has left
	cancel context.CancelFunc
	watch  watch
	in     buffer
	out    []byte // what is being written, kept for its memory

	up *upstream // that carried the last response, or carries this one; of serve's goroutine only

	mu      sync.Mutex
	carrier *upstream // what carries a request at the moment
	left    error     // why nothing more comes from the client
	waiting bool      // for a request
	called  bool      // to go
}

func newClient(p *Proxy, conn *net.TCPConn) *client {
	c := &client{proxy: p, conn: conn}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.watch.client, c.in.pool = c, &p.pool
	return c
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446, 5.1).
const tlsHandshake = 22

// serve carries one request after the other until the client goes.
func (c *client) serve() {
	defer c.cancel()
	defer c.conn.Close()
	defer c.drop()
	c.origin = origin(c.conn)
	c.await()
	if _, err := c.in.fill(c.conn); err != nil {
		return
	}
	if c.in.bytes()[0] == tlsHandshake {
		c.received()
		c.passThrough()
		return
	}
	for c.next() {
		c.await()
	}
}

// await is called before the client is read from for a request, which ends with
// a last call once the proxy ends.
func (c *client) await() {
	c.mu.Lock()
	c.waiting = true
	c.mu.Unlock()
	if c.proxy.ends() {
		c.lastCall()
	}
}

// received ends what await has begun.
func (c *client) received() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting = false; c.called {
		c.conn.SetReadDeadline(time.Time{})
	}
}

// lastCall has a client go that sends nothing more.
func (c *client) lastCall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		c.called = true
		c.conn.SetReadDeadline(time.Now().Add(lastCall))
	}
}

// next carries a request, and reports whether there may be another.
func (c *client) next() bool {
	head, err := c.in.head(c.conn)
	c.received()
	if errors.Is(err, errHeadTooLarge) {
		c.handOver(nil)
		return false
	}
	if err != nil {
		// net/http has an answer for a head that ends too early.
		if errors.Is(err, io.EOF) && c.in.len() > 0 {
			c.handOver(nil)
		}
		return false
	}
	req, err := parseRequest(head, c.out[:0])
	if err != nil {
		c.handOver(head)
		return false
	}
	c.out = req.out
	return c.exchange(&req)
}

// leave takes notice that nothing more comes from the client. A backend that
// works for it learns that in the same way: by the end of what is sent, or by
// a broken connection.
func (c *client) leave(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == nil {
		c.left = err
		c.cancel()
		c.pass(err)
	}
}

// pass tells the carrier that the client left.
func (c *client) pass(err error) {
	switch {
	case c.carrier == nil:
	case errors.Is(err, io.EOF):
		c.carrier.conn.CloseWrite()
	default:
		c.carrier.conn.Close()
	}
}

// carry makes an upstream the one that learns of the client's leaving.
func (c *client) carry(u *upstream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carrier = u; c.left != nil {
		c.pass(c.left)
	}
}

func (c *client) hasLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left != nil
}

// drop closes the connection to the backend.
func (c *client) drop() {
	if c.up != nil {
		c.up.conn.Close()
		c.up.backend.detach(&c.up.link)
		c.up = nil
	}
}

// refuse answers in place of the backend, and closes the connection.
func (c *client) refuse(req *request, status int, err error) {
	text := fmt.Sprintf("devloop: %v\n", err)
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nDate: %s\r\nConnection: close\r\n\r\n",
		status, http.StatusText(status), len(text), time.Now().UTC().Format(http.TimeFormat))
	if req.head {
		text = ""
	}
	if _, err := io.WriteString(c.conn, head+text); err == nil {
		c.linger()
	}
}

// linger closes a connection so that the client can read the answer to a
// request that was not read to its end.
func (c *client) linger() {
	c.conn.CloseWrite()
	c.conn.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.Copy(io.Discard, c.conn)
}

// abort closes a connection so that the client does not take its end for the
// answer's.
func (c *client) abort() {
	c.conn.SetLinger(0)
	c.conn.Close()
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
