package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"workspace-server/internal/metrics"
	"workspace-server/internal/trace"
	"workspace-server/internal/workspace"
)

// handler answers a request. It may return an error even after its answer began,
// which then is cut short.
type handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP leaves an error to the edge, which every request passes.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		w.(*recorder).err = err
	}
}

// edge is what a request passes first and an answer last: it gives the request an
// id and a trace, turns errors and panics into problem documents, and logs and counts
// each request once.
type edge struct {
	mux      *http.ServeMux
	log      *slog.Logger
	requests metrics.Requests
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := requestID(r)
	w.Header().Set("X-Request-Id", id)
	rec := &recorder{ResponseWriter: w}
	e.requests.Begin()
	limitBody(rec, r)
	// The requests that the handler sends belong to the trace too.
	part, ok := trace.Parse(r.Header)
	if !ok {
		part = trace.New()
	}
	r = r.WithContext(trace.NewContext(r.Context(), part))
	e.serve(rec, r)
	if rec.err != nil && !rec.aborted {
		e.fail(rec, r, id)
	}
	took := time.Since(start)
	e.requests.Done(r.Method, rec.pattern, rec.ended(), took)
	e.logRequest(r, rec, id, took)
	if rec.aborted {
		// The client must not take a part for the whole answer.
		panic(http.ErrAbortHandler)
	}
}

func (e *edge) serve(rec *recorder, r *http.Request) {
	defer func() {
		switch value := recover(); {
		case value == nil:
		case value == http.ErrAbortHandler:
			rec.aborted = true
		default:
			rec.err = fmt.Errorf("panic: %v\n%s", value, debug.Stack())
			rec.aborted = rec.status != 0
		}
	}()
	// The mux would redirect the client to the cleaned path: a DELETE of the file
	// ".." to the workspace.
	if asked, clean := r.URL.EscapedPath(), path.Clean(r.URL.EscapedPath()); asked != clean && asked != clean+"/" {
		rec.err = workspace.Errorf(workspace.NotFound, "There is nothing at %.200q, which is not a plain path. See /docs for the paths.", asked)
		return
	}
	handle, pattern := e.mux.Handler(r)
	if pattern == "" {
		rec.err = noRoute(handle, r)
		return
	}
	rec.pattern = pattern
	// Only serving sets the path's values.
	e.mux.ServeHTTP(rec, r)
}

// fail answers with the problem that the handler returned.
func (e *edge) fail(rec *recorder, r *http.Request, id string) {
	if rec.status != 0 {
		rec.aborted = true
		return
	}
	p := problemOf(rec.err)
	if p.allow != "" {
		rec.Header().Set("Allow", p.allow)
	}
	if p.challenge != "" {
		rec.Header().Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter != "" {
		rec.Header().Set("Retry-After", p.retryAfter)
	}
	p.RequestID = id
	if err := writeProblem(rec, p); err != nil && r.Context().Err() == nil {
		rec.err = errors.Join(rec.err, err)
	}
}

// logRequest logs a request by how it ended, with the error that clients do not
// see. Not every late end is a fault of the server: a client may go away, and the
// token of a stream may expire.
func (e *edge) logRequest(r *http.Request, rec *recorder, id string, took time.Duration) {
	level := slog.LevelDebug
	gone := errors.Is(r.Context().Err(), context.Canceled)
	status := rec.status
	if rec.aborted && rec.err != nil {
		status = problemOf(rec.err).Status
	}
	switch {
	case gone:
	case status >= 500:
		level = slog.LevelError
	case status >= 400:
		level = slog.LevelInfo
	}
	if !e.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.Int("status", rec.status),
		slog.Duration("took", took.Round(time.Microsecond)),
		slog.String("request_id", id),
		slog.String("trace_id", trace.FromContext(r.Context()).ID),
	}
	if rec.caller != "" {
		attrs = append(attrs, slog.String("token", rec.caller))
	}
	if rec.err != nil {
		attrs = append(attrs, slog.Any("error", rec.err))
	}
	if gone {
		attrs = append(attrs, slog.Bool("client_gone", true))
	}
	e.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// bodyTimeout is how long a body may take to arrive.
const bodyTimeout = 15 * time.Second

// limitBody sets the deadline of a request's body, unless the handler sets another.
// It also limits a body that no handler reads, since net/http reads the rest of a
// body before it answers. It ends with the body, so it does not limit streams and
// long polls.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		// This fails only on a closed connection, where reading fails too.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// requestID returns the client's id if it is harmless in a log, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	harmless := id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c)
	})
	if harmless {
		return id
	}
	return strings.ToLower(rand.Text()[:16])
}

// noRoute returns as an error what the mux answers to a request without a pattern.
func noRoute(handle http.Handler, r *http.Request) error {
	probe := &recorder{ResponseWriter: discard{http.Header{}}}
	handle.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.Header().Get("Allow")
		return &problem{
			Status: http.StatusMethodNotAllowed,
			Detail: fmt.Sprintf("%s allows only %s. Use another method.", r.URL.Path, allow),
			allow:  allow,
		}
	}
	return workspace.Errorf(workspace.NotFound, "There is nothing at %s. See /docs for the paths.", r.URL.Path)
}

// recorder records how a request was answered.
type recorder struct {
	http.ResponseWriter
	status  int // 0: nothing was written
	err     error
	aborted bool   // the answer is incomplete
	caller  string // the id of the token that came with the request
	pattern string // that the request matches
}

// ended returns the status that a request ended with, 0 if it was cut short.
func (r *recorder) ended() int {
	if r.aborted {
		return 0
	}
	return cmp.Or(r.status, http.StatusOK) // as net/http answers if nothing was written
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap serves http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// discard is a response that goes nowhere.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
