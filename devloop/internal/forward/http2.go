package forward

import (
	"net"
	"net/http"
	"sync"
)

func (p *Proxy) newServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   http.HandlerFunc(p.serveHTTP),
		Protocols: &protocols,
		ErrorLog:  silent(),
	}
}

func (p *Proxy) serveHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	http.Error(w, "devloop: this request can be read in two ways, and is not forwarded: its head must have one Host, "+
		"one Content-Length or one Transfer-Encoding, and no folded lines", http.StatusBadRequest)
}

// handOver gives the connection to net/http, with what was read of it.
func (c *client) handOver(head []byte) {
	c.drop()
	h := &handedConn{TCPConn: c.conn, prefix: append(append([]byte(nil), head...), c.in.bytes()...), closed: make(chan struct{})}
	if c.proxy.handed.push(h) {
		<-h.closed
	}
}

// A handedConn begins with what was read of it already.
type handedConn struct {
	*net.TCPConn
	prefix []byte
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

// handedOver is a listener for connections that another listener accepted.
type handedOver struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newHandedOver(addr net.Addr) *handedOver {
	return &handedOver{addr: addr, conns: make(chan net.Conn), ended: make(chan struct{})}
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
