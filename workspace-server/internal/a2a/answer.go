package a2a

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"workspace-server/internal/workspace"
)

// checkAnswer fails with BadGateway on an answer that cannot be passed on.
func checkAnswer(resp *http.Response) error {
	unusable := func(format string, args ...any) error { return workspace.Errorf(workspace.BadGateway, format, args...) }
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return unusable("The agent answered with the redirect %d, which is not followed. It has to register the URL that it is at.", resp.StatusCode)
	case resp.StatusCode < 200 || resp.StatusCode > 599:
		return unusable("The agent answered with the status %d, which is none of an answer.", resp.StatusCode)
	case encoding != "" && encoding != "identity":
		return unusable("The agent answered with the Content-Encoding %.40q, which it was not asked for.", encoding)
	}
	return nil
}

// pass writes an answer as it comes in. Its end must not be mistaken for
// another: what is not whole is cut.
func (p *Proxy) pass(ctx context.Context, cancel context.CancelCauseFunc, out *writer, resp *http.Response, patience *time.Timer) error {
	h := out.w.Header()
	copyProtocol(h, resp.Header)
	h.Set("Content-Type", "application/octet-stream")
	if kind := resp.Header.Get("Content-Type"); kind != "" {
		h.Set("Content-Type", kind)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	defer out.close()
	if isStream(resp) {
		// It has no end that one could wait for.
		out.stopping = p.stopping
		defer context.AfterFunc(p.stopping, func() {
			cancel(stopped{})
			_ = out.extend() // a write may be under way
		})()
	}
	out.w.WriteHeader(resp.StatusCode)
	live := resp.ContentLength < 0
	if live && !out.flush() {
		return nil
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 && !out.write(buf[:n], live) {
			return nil
		}
		patience.Reset(p.silence)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			continue
		}
		err = cause(ctx, err)
		if errors.Is(err, stopped{}) {
			panic(http.ErrAbortHandler)
		}
		return workspace.Wrap(workspace.BadGateway, "The agent's answer broke off.", err)
	}
}

func isStream(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/event-stream"
}

// writer writes with a deadline. It is that of the connection, which a server
// sets anew for each request.
type writer struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	timeout  time.Duration
	stopping context.Context // when it is done, the deadline is short

	mu     sync.Mutex
	closed bool
}

func newWriter(w http.ResponseWriter, timeout time.Duration) *writer {
	return &writer{w: w, rc: http.NewResponseController(w), timeout: timeout, stopping: context.Background()}
}

// extend sets the deadline of the writes that follow, or are under way.
func (o *writer) extend() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	timeout := o.timeout
	if o.stopping.Err() != nil {
		timeout = min(timeout, stopTimeout)
	}
	return o.rc.SetWriteDeadline(time.Now().Add(timeout))
}

// write and flush return false when the client cannot be written to.
func (o *writer) write(p []byte, flush bool) bool {
	if o.extend() != nil {
		return false
	}
	_, err := o.w.Write(p)
	return err == nil && (!flush || o.flush())
}

func (o *writer) flush() bool { return o.extend() == nil && o.rc.Flush() == nil }

// close keeps the deadline from being set after the answer has ended, when the
// connection is no longer the message's.
func (o *writer) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}
