package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// peerKey is where the context of a request has its http2Peer.
type peerKey struct{}

// newHTTP2 serves HTTP/2 with prior knowledge.
func newHTTP2(addr net.Addr) *handedOver {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return newHandedOver(addr, serveHTTP2, protocols)
}

func serveHTTP2(w http.ResponseWriter, r *http.Request) {
	peer := r.Context().Value(peerKey{}).(*http2Peer)
	// What the backend leaves out is not added.
	for _, name := range []string{"Date", "Content-Type"} {
		w.Header()[name] = nil
	}
	proxy := httputil.ReverseProxy{
		Rewrite: rewrite, Transport: peer, FlushInterval: -1, ErrorHandler: refuseHTTP2, ErrorLog: silent(),
	}
	proxy.ServeHTTP(w, r)
}

// rewrite leaves a request as it is.
func rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "backend", r.In.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Trailer = r.In.Trailer // the same map: it is filled at the body's end
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

// refuseHTTP2 answers in place of the backend.
func refuseHTTP2(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadGateway
	if errors.Is(err, errEnding) {
		status = http.StatusServiceUnavailable
	}
	text := fmt.Sprintf("devloop: %v", err)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "14") // UNAVAILABLE
		w.Header().Set("Grpc-Message", strings.ReplaceAll(text, "%", "%25"))
		return
	}
	http.Error(w, text, status)
}

// An http2Peer is a client that speaks HTTP/2, and its connections to backends.
type http2Peer struct {
	proxy  *Proxy
	origin netip.Addr

	mu         sync.Mutex
	transports map[*Backend]*http2Link
	closed     bool
}

// An http2Link is a client's connections to one backend.
type http2Link struct {
	link
	transport *http.Transport
	http1     http1Answer
}

var errNoHTTP2 = errors.New("the client speaks HTTP/2 without TLS (h2c), and the server does not: " +
	"let the server speak it (in Go, http.Server.Protocols with SetUnencryptedHTTP2), or the client HTTP/1.1")

var errEnded = errors.New("the server ended, or was ended, before it answered: see the terminal of 'devloop up'")

// RoundTrip sends a request to the backend that serves.
func (p *http2Peer) RoundTrip(r *http.Request) (*http.Response, error) {
	body := &heldBody{ReadCloser: r.Body, held: true}
	defer body.release()
	for {
		b, err := p.proxy.begin(r.Context(), requests, nil)
		if err != nil {
			return nil, err
		}
		l, ok := p.link(b)
		if !ok {
			b.end(requests, nil)
			if r.Context().Err() == nil && b.closed.Err() != nil {
				continue
			}
			return nil, context.Canceled
		}
		ctx, cancel := context.WithCancel(r.Context())
		cut := context.AfterFunc(b.closed, cancel)
		end := sync.OnceFunc(func() {
			cut()
			cancel()
			if !b.end(requests, &l.link) {
				p.forget(b)
			}
		})
		attempt := r.WithContext(ctx)
		if r.Body != nil && r.Body != http.NoBody {
			attempt.Body = body
		}
		response, err := l.transport.RoundTrip(attempt)
		if err == nil {
			response.Body = &endingBody{response.Body, end}
			return response, nil
		}
		end()
		switch {
		case errors.Is(err, errReplaced) && r.Context().Err() == nil:
		case l.http1.seen():
			return nil, errNoHTTP2
		case b.closed.Err() != nil && r.Context().Err() == nil:
			return nil, errEnded
		default:
			return nil, err
		}
	}
}

// A heldBody is that of a request which may be sent again. Transports close it
// when they fail, even if they have not read from it.
type heldBody struct {
	io.ReadCloser
	mu           sync.Mutex
	held, closed bool
}

func (b *heldBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed = true; b.held {
		return nil
	}
	return b.ReadCloser.Close()
}

func (b *heldBody) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held = false; b.closed {
		b.ReadCloser.Close()
	}
}

// An endingBody is that of a response whose end somebody waits for.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// link returns the connections to a backend, in use by one request more.
func (p *http2Peer) link(b *Backend) (*http2Link, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.transports[b]
	if l == nil {
		l = p.newLink(b)
	}
	if p.closed || !b.attach(&l.link) {
		return nil, false
	}
	p.transports[b] = l
	return l, true
}

func (p *http2Peer) newLink(b *Backend) *http2Link {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	l := &http2Link{}
	l.transport = &http.Transport{
		Protocols:          &protocols,
		DisableCompression: true,
		// Servers close idle connections; a request must not cross that.
		IdleConnTimeout:       maxTrust,
		ExpectContinueTimeout: time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := p.proxy.reach(ctx, b, p.origin)
			if err != nil {
				return nil, err
			}
			return &http2Conn{TCPConn: conn, answer: &l.http1}, nil
		},
	}
	l.close = l.transport.CloseIdleConnections
	return l
}

// forget closes the connections to a backend that was replaced, as far as they
// are not in use.
func (p *http2Peer) forget(b *Backend) {
	p.mu.Lock()
	l := p.transports[b]
	delete(p.transports, b)
	p.mu.Unlock()
	if l != nil {
		l.close()
	}
}

func (p *http2Peer) close() {
	p.mu.Lock()
	p.closed = true
	links := p.transports
	p.transports = nil
	p.mu.Unlock()
	for b, l := range links {
		b.detach(&l.link)
		l.close()
	}
}

// An http1Answer notices that a server answers HTTP/2 with HTTP/1.
type http1Answer struct {
	mu    sync.Mutex
	found bool
}

func (a *http1Answer) seen() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.found
}

// An http2Conn tells how the server's side begins.
type http2Conn struct {
	*net.TCPConn
	answer *http1Answer
	read   bool
}

func (c *http2Conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if !c.read && n > 0 {
		c.read = true
		if bytes.HasPrefix(p[:n], []byte("HTTP/1")) {
			c.answer.mu.Lock()
			c.answer.found = true
			c.answer.mu.Unlock()
		}
	}
	return n, err
}
