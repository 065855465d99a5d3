package client

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	// longAgo, as a deadline, ends what is being waited for.
	longAgo = 1
)

// roundTrip sends a request on a connection of its own, and returns the answer,
// whose body closes it. It follows no redirect, since the token is for this
// server. If silence is above 0, a body that does not grow for so long ends
// with an error.
//
// It speaks HTTP/1.1 by hand: the client of net/http, which the server has no
// use for, would make each build and each start of the server slower.
func roundTrip(req *http.Request, roots *x509.CertPool, silence time.Duration) (*http.Response, error) {
	ctx := req.Context()
	conn, err := dial(ctx, req.URL, roots)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(longAgo, 0)) })
	b := &body{conn: conn, stop: stop, silence: silence, ctx: ctx}
	req.Close = true
	// A server that refuses a request may do so before it has read all of it.
	writeErr := req.Write(conn)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(in, req)
	}
	if err != nil {
		_ = b.close() // it is over
		return nil, cmp.Or(ctx.Err(), writeErr, err)
	}
	b.ReadCloser = resp.Body
	resp.Body = b
	return resp, nil
}

func dial(ctx context.Context, to *url.URL, roots *x509.CertPool) (net.Conn, error) {
	port := to.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[to.Scheme]
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(to.Hostname(), port))
	if err != nil || to.Scheme != "https" {
		return conn, err
	}
	secure := tls.Client(conn, &tls.Config{ServerName: to.Hostname(), RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// body is that of an answer, and closes its connection.
type body struct {
	io.ReadCloser
	conn    net.Conn
	stop    func() bool
	silence time.Duration
	ctx     context.Context
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.silence > 0 && b.ctx.Err() == nil {
		if err := b.conn.SetReadDeadline(time.Now().Add(b.silence)); err != nil {
			return 0, err
		}
		if b.ctx.Err() != nil { // it was done meanwhile
			_ = b.conn.SetReadDeadline(time.Unix(longAgo, 0))
		}
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return n, err
}

// Close implements io.Closer. What is left of the answer is not read.
func (b *body) Close() error { return b.close() }

func (b *body) close() error {
	b.stop()
	return b.conn.Close()
}
