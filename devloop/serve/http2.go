package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"time"
)

// prepareHTTP2 lets s.http hand its HTTP/2 connections to s.http2. Net/http says GOAWAY
// only as a part of Shutdown, which also closes idle HTTP/1 connections at once, and so
// loses the requests that are on their way to them. With two servers, one is shut down
// and the other is not.
func (s *Server) prepareHTTP2(serve func(*http.Server, net.Listener) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prepared {
		return nil
	}
	if off := s.http2.TLSNextProto != nil && s.http2.Protocols == nil; !off {
		// Serve sets up HTTP/2 before it accepts, unless the program brought its own.
		if err := serve(s.http2, noListener{}); !errors.Is(err, errNoListener) {
			return err
		}
	}
	s.http.TLSConfig = s.http2.TLSConfig
	s.http.TLSNextProto = maps.Clone(s.http2.TLSNextProto)
	for name, begin := range s.http.TLSNextProto {
		s.http.TLSNextProto[name] = func(server *http.Server, tc *tls.Conn, handler http.Handler) {
			s.mark(tc.NetConn())
			begin(server, tc, handler)
		}
	}
	s.prepared = true
	return nil
}

// mark notes that a connection speaks HTTP/2: only net/http knows when it may end.
func (s *Server) mark(nc net.Conn) {
	// Without TLS, net/http wraps the connection.
	wrapped, plain := nc.(interface{ UnencryptedNetConn() net.Conn })
	if plain {
		nc = wrapped.UnencryptedNetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	if plain {
		c.frames.Store(&frames{to: c.Conn})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.http2 = true
}

// farewell is how long clients have after the first GOAWAY to begin no more requests.
const farewell = time.Second

// goAway tells the HTTP/2 connections to end once their requests have been answered.
// Those that begin later are told when connState sees them.
func (s *Server) goAway() {
	s.mu.Lock()
	var plain []*frames
	encrypted := false
	for c := range s.conns {
		switch f := c.frames.Load(); {
		case f != nil:
			plain = append(plain, f)
		case c.http2:
			encrypted = true
		}
	}
	s.mu.Unlock()
	for _, f := range plain {
		go f.goAway() // its client may not read, and writing takes as long then
	}
	// It has neither listeners nor HTTP/1 connections to wait for.
	last := func() { _ = s.http2.Shutdown(context.Background()) }
	if encrypted {
		last()
	} else if len(plain) > 0 {
		time.AfterFunc(farewell, last)
	}
}

var errNoListener = errors.New("there is no listener")

type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, errNoListener }
func (noListener) Close() error              { return nil }
func (noListener) Addr() net.Addr            { return &net.TCPAddr{} }
