package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Error is what a server answered instead of what was asked for: a problem
// document (RFC 9457).
type Error struct {
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Kind      string `json:"kind"`
	RequestID string `json:"request_id"`

	RetryAfter time.Duration `json:"-"` // 0: the server does not say
}

// Error says what the server said. A failure of its own is explained by its
// log, which has the request's id.
func (e *Error) Error() string {
	if e.Status >= 500 && e.RequestID != "" {
		return fmt.Sprintf("%s (request id %s)", e.Detail, e.RequestID)
	}
	return e.Detail
}

// Unreachable is that no answer came, or not all of it.
type Unreachable struct {
	Server string
	Err    error
}

// Error says what can be done.
func (e *Unreachable) Error() string {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer from %s in time; --timeout makes it longer", e.Server)
	}
	if op, ok := errors.AsType[*net.OpError](e.Err); ok && op.Op == "dial" {
		return fmt.Sprintf("no server answers at %s: is it running? 'make dev' starts one, --server names another (%v)", e.Server, op.Err)
	}
	return fmt.Sprintf("the connection to %s failed: %v", e.Server, e.Err)
}

// Unwrap returns the cause.
func (e *Unreachable) Unwrap() error { return e.Err }

// maxProblem bounds a problem document.
const maxProblem = 64 << 10

// errorOf reads an answer that is no success.
func errorOf(resp *http.Response) error {
	e := &Error{}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // none is as bad as another
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(text, e) != nil || e.Detail == "" {
		*e = Error{
			Detail: fmt.Sprintf("%s answered %q, and not as workspace-server does: is the address right?", resp.Request.URL.Host, resp.Status),
		}
	}
	e.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// StatusOf returns the status of an answer that is the cause of err, else 0.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}
