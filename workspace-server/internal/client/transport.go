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
	// forever, as a silence, is one that never ends a call.
	forever time.Duration = math.MaxInt64
)

// newTransport returns what requests are sent by. Each has a connection of its
// own, since one that was kept may be lost when the server starts anew, and the
// request with it. None goes by a proxy: the token is for the server alone.
//
// That no connection is kept is not told to the server (DisableKeepAlives): it
// would reset the connection of a request that it refuses unread, and the reset
// may overtake the answer.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: -1,   // keep none
		DisableCompression:  true, // a proxy would hold a stream back to compress it
	}
}

// send returns the answer to a request, also if that is a redirect: where it
// points must not get the token. An answer that is waited for in vain for as
// long as silence, be it for its beginning or for more of it, ends with an error.
func (c *Client) send(req *http.Request, silence time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing came for %v", silence)) })
	resp, err := c.transport.RoundTrip(req.WithContext(ctx))
	watch.Stop()
	if err != nil {
		cancel(nil) // it is over
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // as it is later in an answer
		}
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, watch: watch, silence: silence, cancel: cancel}
	return resp, nil
}

// body is that of an answer, whose silence is watched while it is read.
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

// Close implements io.Closer. What is left of the answer is not read.
func (b *body) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
