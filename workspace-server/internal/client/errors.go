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

// Error is an error that the server answered: a problem document (RFC 9457).
type Error struct {
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Kind      string `json:"kind"`
	RequestID string `json:"request_id"`

	RetryAfter time.Duration `json:"-"` // 0: the server does not say
}

// Error returns the server's words. For a failure of the server it adds the request's
// id, which finds the explanation in the server's log.
func (e *Error) Error() string {
	if e.Status >= 500 && e.RequestID != "" {
		return fmt.Sprintf("%s (request id %s)", e.Detail, e.RequestID)
	}
	return e.Detail
}

// Unreachable is the error for a call that got no answer, or not a whole one.
type Unreachable struct {
	Server string
	Err    error
}

// Error says what failed and what to do.
func (e *Unreachable) Error() string {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s did not answer in time: wait longer with --timeout", e.Server)
	}
	if op, ok := errors.AsType[*net.OpError](e.Err); ok && op.Op == "dial" {
		return fmt.Sprintf("no server answers at %s (%v): start one with 'make dev', or name another with --server", e.Server, op.Err)
	}
	return fmt.Sprintf("the connection to %s failed: %v", e.Server, e.Err)
}

// Unwrap returns the cause.
func (e *Unreachable) Unwrap() error { return e.Err }

// maxProblem bounds a problem document, in bytes.
const maxProblem = 64 << 10

// errorOf reads an answer that reports an error.
func errorOf(resp *http.Response) error {
	e := &Error{}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // no type is as wrong as another
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(text, e) != nil || e.Detail == "" {
		*e = Error{
			Detail: fmt.Sprintf("%s answered %q, but not as workspace-server does: check the address", resp.Request.URL.Host, resp.Status),
		}
	}
	e.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// StatusOf returns the status of the answer that caused err, or 0.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}
