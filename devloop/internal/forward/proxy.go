// Package forward accepts the requests of a server's clients and passes each on
// to the process that serves at that moment. Requests wait while none does. A
// client's connection has a connection of its own to the backend, so what the
// backend sees is what it would see without a proxy.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Proxy. The zero value is good.
type Options struct {
	// Quiet is how long a passed-through connection has to be quiet after its
	// backend was replaced, until it is closed; 0 means 2 seconds.
	Quiet time.Duration
	// Unanswered is the same for one on which the client was the last to send: it
	// may wait for an answer. 0 means 10 minutes.
	Unanswered time.Duration
	// Refused is how long a request is tried again that a backend refuses to
	// accept, since a process may end and be replaced; 0 means a second.
	Refused time.Duration
}

const (
	// watchAfter is how long a response may take until somebody watches for the
	// client's leaving.
	watchAfter = 20 * time.Millisecond
	// lastCall is how long an unused connection stays open after the end has
	// begun, since a request may be on its way.
	lastCall = 200 * time.Millisecond
	// lingering is how long a connection is read whose client may still be
	// sending: closing it at once would destroy the answer.
	lingering = 500 * time.Millisecond
	// refusedPause is between two attempts to reach a backend.
	refusedPause = 10 * time.Millisecond
)

// A Proxy forwards what arrives on one listener.
type Proxy struct {
	listener net.Listener
	options  Options
	http2    *handedOver // speaks HTTP/2
	refused  *handedOver // answers what cannot be forwarded
	route    atomic.Pointer[route]
	ending   chan struct{} // closed once Serve ends
	pool     pool

	mu      sync.Mutex // one Switch at a time; guards clients
	clients map[*client]struct{}
	wg      sync.WaitGroup
}

// A route is where requests go, until it changes.
type route struct {
	backend *Backend
	changed chan struct{}
}

// New returns a proxy for a TCP listener. It accepts nothing before Serve runs.
func New(l net.Listener, o Options) *Proxy {
	if o.Quiet == 0 {
		o.Quiet = 2 * time.Second
	}
	if o.Unanswered == 0 {
		o.Unanswered = 10 * time.Minute
	}
	if o.Refused == 0 {
		o.Refused = time.Second
	}
	p := &Proxy{
		listener: l, options: o, http2: newHTTP2(l.Addr()), refused: newRefused(l.Addr()),
		ending: make(chan struct{}), clients: make(map[*client]struct{}),
	}
	p.route.Store(&route{changed: make(chan struct{})})
	return p
}

// Switch sends all new requests to b. With nil they wait for the next Switch.
// The backend that had them before keeps what it has; its Idle says when that
// has ended.
func (p *Proxy) Switch(b *Backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.route.Load()
	if old.backend == b {
		return
	}
	p.route.Store(&route{backend: b, changed: make(chan struct{})})
	close(old.changed)
	if old.backend != nil {
		old.backend.replace()
	}
}

// Serve accepts until the context is done, and returns once everything that it
// accepted has ended. Requests that wait for a backend then are refused; those
// that have one go on until they end, or until Backend.Close or Cut cuts them: a
// client that does not read its answer keeps the connection otherwise.
func (p *Proxy) Serve(ctx context.Context) error {
	served := make(chan error, 2)
	for _, h := range []*handedOver{p.http2, p.refused} {
		go func() { served <- h.server.Serve(h) }()
	}
	accepted := make(chan error, 1)
	go func() { accepted <- p.accept() }()
	var err error
	select {
	case <-ctx.Done():
		p.listener.Close()
		<-accepted
	case err = <-accepted:
		p.listener.Close()
	}
	close(p.ending)
	p.mu.Lock()
	for c := range p.clients {
		c.lastCall()
	}
	p.mu.Unlock()
	// HTTP/2 clients are told at once to go; the others find out at their next
	// request.
	for _, h := range []*handedOver{p.http2, p.refused} {
		err = errors.Join(err, h.server.Shutdown(context.Background()))
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	p.wg.Wait()
	return err
}

// Cut closes the connections of all clients, whatever they carry.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.clients {
		c.conn.Close() // net/http notices, if it has the connection
	}
}

// ends reports whether Serve is about to return.
func (p *Proxy) ends() bool {
	select {
	case <-p.ending:
		return true
	default:
		return false
	}
}

func (p *Proxy) accept() error {
	for {
		conn, err := p.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			var temporary interface{ Temporary() bool }
			if !errors.As(err, &temporary) || !temporary.Temporary() {
				return fmt.Errorf("accept: %w", err)
			}
			// As when there are no descriptors left: some will be.
			time.Sleep(refusedPause)
			continue
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			conn.Close()
			return fmt.Errorf("accept: %T is no TCP connection", conn)
		}
		c := newClient(p, tcp)
		p.mu.Lock()
		p.clients[c] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() {
			defer func() {
				p.mu.Lock()
				delete(p.clients, c)
				p.mu.Unlock()
			}()
			c.serve()
		})
	}
}

var errEnding = errors.New("the loop ends")

// begin counts something new at the backend that serves. It waits for one as
// long as the client does. The link is used if it leads to that backend.
func (p *Proxy) begin(ctx context.Context, k kind, l *link) (*Backend, error) {
	for {
		r := p.route.Load()
		if r.backend != nil {
			use := l
			if l != nil && l.backend != r.backend {
				use = nil
			}
			if r.backend.begin(k, use) {
				return r.backend, nil
			}
		}
		select {
		case <-r.changed:
		case <-p.ending:
			return nil, errEnding
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// silent is a log for what net/http says about single clients.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
