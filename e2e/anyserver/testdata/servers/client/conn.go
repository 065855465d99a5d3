package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// longRest is how long a connection may be unused before a server that is
// replaced may close it, crossing with a request. That a client here lets one
// rest so long is the doing of a busy machine.
const longRest = 400 * time.Millisecond

// A restedError is a failure on a connection that had rested for long.
type restedError struct{ error }

func (e restedError) Unwrap() error { return e.error }

func rested(err error) bool {
	_, ok := errors.AsType[restedError](err)
	return ok
}

// usedConn notes the longest time between two uses of a connection.
type usedConn struct {
	net.Conn
	last, rest atomic.Int64
}

func dialUsed(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &usedConn{Conn: conn}
	c.last.Store(time.Now().UnixNano())
	return c, nil
}

func (c *usedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.last.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *usedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	now := time.Now().UnixNano() // this client, too, may not have run for a while
	c.rest.Store(max(c.rest.Load(), now-c.last.Swap(now)))
	return n, err
}

// do sends a request, and marks the failure of a connection that had rested.
func do(client *http.Client, req *http.Request) (*http.Response, error) {
	var used *usedConn
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if used, _ = info.Conn.(*usedConn); used != nil {
			used.rest.Store(0)
		}
	}}
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil && used != nil && time.Duration(used.rest.Load()) >= longRest {
		return nil, restedError{err}
	}
	return resp, err
}
