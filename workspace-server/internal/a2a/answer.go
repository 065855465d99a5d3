package a2a

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"workspace-server/internal/stream"
	"workspace-server/internal/workspace"
)

// checkAnswer fails with BadGateway on an answer that cannot be passed on.
func checkAnswer(resp *http.Response) error {
	unusable := func(format string, args ...any) error { return workspace.Errorf(workspace.BadGateway, format, args...) }
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return unusable("The agent answered with the redirect %d, which the server does not follow. The agent must register its final URL.", resp.StatusCode)
	case resp.StatusCode < 200 || resp.StatusCode > 599:
		return unusable("The agent answered with the status %d, which no answer may have.", resp.StatusCode)
	case encoding != "" && encoding != "identity":
		return unusable("The agent answered with the Content-Encoding %.40q, which the server did not ask for.", encoding)
	}
	return nil
}

// pass writes an answer as it arrives. It cuts an answer that is not whole, so that
// no client takes it for one.
func (p *Proxy) pass(ctx context.Context, cancel context.CancelCauseFunc, w http.ResponseWriter, resp *http.Response, patience *time.Timer) error {
	h := w.Header()
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
	stopping := context.Background()
	if isStream(resp) {
		// No one knows when it ends, so a server that stops does not wait for it.
		stopping = p.stopping
		defer context.AfterFunc(stopping, func() { cancel(stopped{}) })()
	}
	out := stream.New(stopping, w, p.writeTimeout)
	defer out.Close()
	w.WriteHeader(resp.StatusCode)
	write := out.Add
	if resp.ContentLength < 0 {
		write = out.Write
		if !out.Flush() {
			return nil
		}
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 && !write(buf[:n]) {
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
