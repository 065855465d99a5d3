package forward

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
)

// handOver gives the connection to net/http, with what was read of it, and
// returns once it is closed.
func (c *client) handOver(head []byte) {
	c.drop()
	h := &handedConn{TCPConn: c.conn, prefix: append(append([]byte(nil), head...), c.in.bytes()...), closed: make(chan struct{})}
	h.peer = &http2Peer{proxy: c.proxy, origin: c.origin, transports: make(map[*Backend]*http2Link)}
	c.in, c.out = buffer{}, nil
	to := c.proxy.refused
	if bytes.HasPrefix(head, []byte("PRI * HTTP/2.0\r\n\r\n")) {
		to = c.proxy.http2
	}
	if to.push(h) {
		<-h.closed
		h.peer.close()
	}
}

// A handedConn begins with what was read of it already.
type handedConn struct {
	*net.TCPConn
	prefix []byte
	peer   *http2Peer
	once   sync.Once
	closed chan struct{}
}

func (h *handedConn) Read(p []byte) (int, error) {
	if len(h.prefix) > 0 {
		n := copy(p, h.prefix)
		h.prefix = h.prefix[n:]
		return n, nil
	}
	return h.TCPConn.Read(p)
}

func (h *handedConn) Close() error {
	err := h.TCPConn.Close()
	h.once.Do(func() { close(h.closed) })
	return err
}

// handedOver is a server of net/http, and the listener for it of connections
// that another listener accepted.
type handedOver struct {
	server *http.Server
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	ended  chan struct{}
}

func newHandedOver(addr net.Addr, handler http.HandlerFunc, protocols http.Protocols) *handedOver {
	return &handedOver{
		server: &http.Server{
			Handler:   handler,
			Protocols: &protocols,
			ErrorLog:  silent(),
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, peerKey{}, c.(*handedConn).peer)
			},
		},
		addr: addr, conns: make(chan net.Conn), ended: make(chan struct{}),
	}
}

// newRefused serves what is not plain HTTP/1. It must not know HTTP/2: until it
// had enough to see whether that comes, it would wait instead of answering.
func newRefused(addr net.Addr) *handedOver {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return newHandedOver(addr, refuseTwoWays, protocols)
}

// refuseTwoWays refuses what net/http takes for a good request, and another
// server may read in another way.
func refuseTwoWays(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "close")
	http.Error(w, "devloop: this request can be read in two ways, and is not forwarded: its head must have one Host, "+
		"one Content-Length or one Transfer-Encoding, and no folded lines", http.StatusBadRequest)
}

func (l *handedOver) push(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.ended:
		return false
	}
}

func (l *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *handedOver) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

func (l *handedOver) Addr() net.Addr { return l.addr }
