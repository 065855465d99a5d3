package forward

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// errStale means that a connection which had been used before ended without a
// byte of the answer.
var errStale = errors.New("the server closed the connection without an answer")

// errCut means that a message ended too early.
var errCut = errors.New("the connection ended in the midst of a message")

// exchange carries a request to the backend, and the response back. It reports
// whether the connection may carry another.
func (c *client) exchange(req *request) bool {
	whole := c.takeBody(req)
	c.watch.arm()
	defer c.watch.stop()
	for {
		b, err := c.connect(req.idempotent && whole)
		if err != nil {
			c.fail(req, err)
			return false
		}
		c.carry(c.up)
		var u *upload
		if _, err = c.up.conn.Write(c.out); err == nil && !whole {
			c.watch.stop()
			u = c.startUpload(req.length)
		}
		again, err := c.answer(req, u, err)
		c.carry(nil)
		fresh := c.up.used.IsZero()
		if errors.Is(err, errStale) && !fresh {
			b.distrust(c.up.idle)
		}
		if again.backend {
			c.up.used = time.Now()
		}
		k := requests
		if again.upgraded {
			k = streams
		}
		if !b.end(k, &c.up.link) || !again.backend {
			c.drop()
		}
		switch {
		case err == nil:
			return again.client
		case errors.Is(err, errStale) && !fresh && whole && req.idempotent && !c.hasLeft():
			continue
		}
		c.fail(req, err)
		return false
	}
}

// takeBody adds to what is sent what has been read of the body. It reports
// whether that is all of it.
func (c *client) takeBody(req *request) bool {
	if req.length >= 0 {
		n := min(req.length, int64(c.in.len()))
		c.out = append(c.out, c.in.take(int(n))...)
		req.length -= n
	}
	return req.length == 0
}

// connect begins the request at the backend that serves, on the connection that
// carried the last one if that is fit, or on a new one.
func (c *client) connect(repeatable bool) (*Backend, error) {
	for {
		var l *link
		if c.up != nil {
			l = &c.up.link
		}
		b, err := c.proxy.begin(c.ctx, requests, l)
		if err != nil {
			return nil, err
		}
		if c.up != nil {
			if c.up.backend == b && c.up.fit(repeatable) {
				return b, nil
			}
			c.drop()
		}
		conn, err := c.proxy.reach(c.ctx, b, c.origin)
		if err == nil {
			if c.up, err = newUpstream(conn, &c.proxy.pool); err == nil {
				if b.attach(&c.up.link) {
					return b, nil
				}
				err = errReplaced
			}
			conn.Close()
			c.up = nil
		}
		b.end(requests, nil)
		if !errors.Is(err, errReplaced) {
			return nil, err
		}
	}
}

// fail ends a request that got no answer, or not all of it.
func (c *client) fail(req *request, err error) {
	switch {
	case c.hasLeft():
	case errors.Is(err, errEnding):
		c.refuse(req, 503, errEnding)
	case errors.Is(err, errCut):
	default:
		c.refuse(req, 502, err)
	}
}

// An upload carries the body of a request while its response may begin already.
type upload struct {
	done  chan struct{}
	whole bool // once done: all of it was sent
}

// state says whether nothing is sent any more, and whether all was.
func (u *upload) state() (done, whole bool) {
	if u == nil {
		return true, true
	}
	select {
	case <-u.done:
		return true, u.whole
	default:
		return false, false
	}
}

func (c *client) startUpload(length int64) *upload {
	u := &upload{done: make(chan struct{})}
	up := c.up
	go func() {
		defer close(u.done)
		err := copyBody(up.conn, c.conn, &c.in, nil, length)
		var read readError
		switch {
		case err == nil:
			u.whole = true
			c.watch.arm()
		case errors.As(err, &read) && !isTimeout(read.error):
			c.leave(read.error)
		case errors.Is(err, errChunks):
			c.leave(io.EOF)
		}
	}()
	return u
}

// again says what may be used again.
type again struct{ client, backend, upgraded bool }

// answer relays the response to the client.
func (c *client) answer(req *request, u *upload, sent error) (again, error) {
	up := c.up
	stop := func() { // whatever is still sent
		if u != nil {
			c.conn.SetReadDeadline(time.Unix(1, 0))
			up.conn.SetWriteDeadline(time.Unix(1, 0))
			<-u.done
			c.conn.SetReadDeadline(time.Time{})
		}
	}
	r, err := c.answerHead(req)
	if err != nil {
		stop()
		return again{}, err
	}
	if r.status == 101 || req.connect && r.status < 300 {
		return c.upgrade(&r, u)
	}
	done, whole := u.state()
	// A backend that closes does not read the rest, which then stands between
	// this request and the next.
	a := again{backend: r.reusable() && sent == nil}
	a.client = req.keep && r.length != untilClose && (whole || !done && !r.close) && !(r.minor == '0' && !r.keepAlive) &&
		sent == nil && !c.proxy.ends() && !c.hasLeft()
	c.out = r.appendTo(c.out[:0], !a.client && (req.keep || r.minor == '1' && req.minor == '1'), a.client && req.minor == '0')
	if err := copyBody(c.conn, up.conn, &up.in, &c.out, r.length); err != nil {
		stop()
		if r.length == untilClose {
			c.abort()
		}
		return again{}, errCut
	}
	if !whole && a.client {
		<-u.done // the backend reads it to the end
		a.client = u.whole
		whole = u.whole
	}
	if !whole || sent != nil {
		stop()
		a = again{}
		c.linger()
	}
	a.client = a.client && !c.hasLeft()
	a.backend = a.backend && up.in.len() == 0 && !c.hasLeft()
	return a, nil
}

// answerHead relays informational responses, and returns the head of the final one.
func (c *client) answerHead(req *request) (response, error) {
	up := c.up
	for informed := false; ; informed = true {
		head, err := up.in.head(up.conn)
		switch {
		case errors.Is(err, errHeadTooLarge):
			return response{}, fmt.Errorf("the server's answer cannot be forwarded: %w", err)
		case err != nil && up.in.len() == 0 && !informed:
			return response{}, errStale
		case err != nil:
			return response{}, errors.New("the server closed the connection in the midst of its answer's head")
		}
		r, err := parseResponse(head, req)
		if err != nil {
			return response{}, fmt.Errorf("the server's answer cannot be forwarded: %w", err)
		}
		switch {
		case r.status == 101 && !req.upgrade:
			return r, errors.New("the server's answer cannot be forwarded: it switches protocols, for which the client did not ask")
		case r.status >= 200 || r.status == 101:
			return r, nil
		}
		if req.minor == '1' {
			c.out = r.appendTo(c.out[:0], false, false)
			if _, err := c.conn.Write(c.out); err != nil {
				return response{}, errCut
			}
		}
	}
}
