package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

const (
	// dialTimeout is how long each step to a connection may take.
	dialTimeout = 10 * time.Second
	// forever is a silence that never ends a call.
	forever time.Duration = math.MaxInt64
)

// newTransport returns a transport that gives each request its own connection: a
// server that restarts may close a kept one and lose the request. It asks no proxy,
// since the token is for the server alone.
//
// It does not announce that to the server (DisableKeepAlives): a server that refuses
// a request unread would then reset the connection, and the reset may overtake the
// answer.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: -1,   // keep none
		DisableCompression:  true, // a proxy would hold a stream back to compress it
	}
}

// send returns the answer to a request, even a redirect, whose target must not get
// the token. It fails, and so does reading the answer, when nothing arrives for as
// long as silence.
func (c *Client) send(req *http.Request, silence time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing arrived for %v", silence)) })
	resp, err := c.transport.RoundTrip(req.WithContext(ctx))
	watch.Stop()
	if err != nil {
		cancel(nil) // the call is over
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // as within an answer
		}
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, watch: watch, silence: silence, cancel: cancel}
	return resp, nil
}

// body is the body of an answer. Each read of it watches for silence.
type body struct {
	io.ReadCloser
	watch   *time.Timer
	silence time.Duration
	cancel  context.CancelCauseFunc
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.watch.Reset(b.silence)
	defer b.watch.Stop()
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer. It does not read the rest of the answer.
func (b *body) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
