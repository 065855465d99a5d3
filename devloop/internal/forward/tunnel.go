package forward

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// upgrade relays the response that ends HTTP on this connection, and then bytes
// both ways until both sides have ended.
func (c *client) upgrade(r *response, u *upload) (again, error) {
	up := c.up
	b := up.backend
	moved := func() { b.moved.Store(time.Now().UnixNano()) }
	moved()
	b.become(requests, streams)
	a := again{upgraded: true}
	if u != nil {
		<-u.done
	}
	c.watch.stop()
	c.out = r.appendTo(c.out[:0], false, false)
	c.out = append(c.out, up.in.take(up.in.len())...)
	if _, err := c.conn.Write(c.out); err != nil {
		return a, nil
	}
	if c.in.len() > 0 {
		if _, err := up.conn.Write(c.in.take(c.in.len())); err != nil {
			return a, nil
		}
	}
	if c.hasLeft() {
		up.conn.CloseWrite()
	}
	c.in, up.in, c.out = buffer{}, buffer{}, nil
	c.proxy.both(c.conn, up.conn, func(*net.TCPConn) { moved() })
	return a, nil
}

// both copies from a to b and from b to a, and tells when something came. The
// end of one direction is passed on; a failure ends both. It does not use
// io.Copy, which would open two pipes for each connection.
func (p *Proxy) both(a, b *net.TCPConn, came func(from *net.TCPConn)) {
	var wg sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		wg.Go(func() {
			if p.flow(way[0], way[1], came) != nil || way[0].CloseWrite() != nil {
				a.Close()
				b.Close()
			}
		})
	}
	wg.Wait()
}

func (p *Proxy) flow(dst, src *net.TCPConn, came func(from *net.TCPConn)) error {
	for in := (buffer{pool: &p.pool}); ; {
		if err := in.read(src); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		came(src)
		if _, err := dst.Write(in.take(in.len())); err != nil {
			return err
		}
	}
}

// passThrough carries a connection as it is, to the backend that serves when it
// begins.
func (c *client) passThrough() {
	c.watch.arm()
	b, conn, err := c.dialThrough()
	c.watch.stop()
	if err != nil {
		c.abort()
		return
	}
	defer conn.Close()
	t := &tunnel{client: c, conn: conn}
	t.moved(true)
	l := link{close: func() { conn.Close(); c.conn.Close() }}
	if !b.attach(&l) {
		b.end(connections, nil)
		return
	}
	defer b.detach(&l)
	defer b.end(connections, &l)
	if _, err := conn.Write(c.in.take(c.in.len())); err != nil {
		return
	}
	c.in = buffer{}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-b.retired.Done():
			t.closeQuiet(done)
		case <-done:
		}
	}()
	c.proxy.both(c.conn, conn, func(from *net.TCPConn) { t.moved(from == c.conn) })
}

func (c *client) dialThrough() (*Backend, *net.TCPConn, error) {
	for {
		b, err := c.proxy.begin(c.ctx, connections, nil)
		if err != nil {
			return nil, nil, err
		}
		conn, err := c.proxy.reach(c.ctx, b, c.origin)
		if err == nil {
			return b, conn, nil
		}
		b.end(connections, nil)
		if err != errReplaced {
			return nil, nil, err
		}
	}
}

// A tunnel is a passed-through connection.
type tunnel struct {
	client *client
	conn   *net.TCPConn
	last   atomic.Int64 // when something moved, in nanoseconds; negative if the client sent it
}

func (t *tunnel) moved(byClient bool) {
	now := time.Now().UnixNano()
	if byClient {
		now = -now
	}
	t.last.Store(now)
}

// closeQuiet closes the connection once it is quiet.
func (t *tunnel) closeQuiet(done <-chan struct{}) {
	for {
		o := &t.client.proxy.options
		last, limit := t.last.Load(), o.Quiet
		if last < 0 {
			last, limit = -last, o.Unanswered
		}
		left := time.Until(time.Unix(0, last).Add(limit))
		if left <= 0 {
			t.client.conn.Close()
			t.conn.Close()
			return
		}
		select {
		case <-time.After(min(left, o.Quiet)): // an answer shortens it
		case <-done:
			return
		}
	}
}
