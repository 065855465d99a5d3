package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"workspace-server/internal/testkit"
	"workspace-server/internal/trace"
	"workspace-server/internal/workspace"
)

func unmarshalLoose(text string, into any) error { return json.Unmarshal([]byte(text), into) }

// serveEdge sends one request through the edge to h.
func serveEdge(t *testing.T, h handler) (resp *httptest.ResponseRecorder, log string, panicked any) {
	t.Helper()
	var buf testkit.Buffer
	mux := http.NewServeMux()
	mux.Handle("GET /x", h)
	e := &edge{mux: mux, log: slog.New(slog.NewTextHandler(&buf, nil))}
	resp = httptest.NewRecorder()
	func() {
		defer func() { panicked = recover() }()
		e.ServeHTTP(resp, httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil))
	}()
	return resp, buf.String(), panicked
}

func TestEdge(t *testing.T) {
	secret := errors.New("dial 10.0.0.7: refused")
	tests := []struct {
		name   string
		handle handler
		status int
		body   string // part of it
		log    string // part of the one line; empty: none
		abort  bool
	}{
		{
			"success", func(w http.ResponseWriter, _ *http.Request) error { return writeJSON(w, 200, "fine") },
			200, "fine", "", false,
		},
		{
			"internal error", func(http.ResponseWriter, *http.Request) error { return secret },
			500, "The server failed to answer", "10.0.0.7", false,
		},
		{
			"unavailable", func(http.ResponseWriter, *http.Request) error {
				return workspace.Wrap(workspace.Unavailable, "Try again.", secret)
			},
			503, "Try again.", "10.0.0.7", false,
		},
		{
			"refusal", func(http.ResponseWriter, *http.Request) error {
				return workspace.Errorf(workspace.Invalid, "name is required")
			},
			400, "name is required", "level=INFO", false,
		},
		{
			"panic", func(http.ResponseWriter, *http.Request) error { panic("boom") },
			500, "The server failed to answer", "edge_test.go", false,
		},
		{
			"not JSON", func(w http.ResponseWriter, _ *http.Request) error { return writeJSON(w, 200, func() {}) },
			500, "The server failed to answer", "unsupported type", false,
		},
		{
			"error after the answer began", func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = w.Write([]byte("half"))
				return secret
			},
			200, "half", "10.0.0.7", true,
		},
		{
			"panic after the answer began", func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = w.Write([]byte("half"))
				panic("boom")
			},
			200, "half", "boom", true,
		},
		{
			"abort", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
			200, "", "", true,
		},
	}
	for _, tt := range tests {
		resp, log, panicked := serveEdge(t, tt.handle)
		if resp.Code != tt.status || !strings.Contains(resp.Body.String(), tt.body) {
			t.Errorf("%s: answer = %d %s, want %d with %q", tt.name, resp.Code, resp.Body, tt.status, tt.body)
		}
		if strings.Contains(resp.Body.String(), "10.0.0.7") || strings.Contains(resp.Body.String(), "boom") {
			t.Errorf("%s: the answer tells what it must not: %s", tt.name, resp.Body)
		}
		lines := 1
		if tt.log == "" {
			lines = 0
		}
		if strings.Count(log, "\n") != lines || !strings.Contains(log, tt.log) {
			t.Errorf("%s: log =\n%s\nwant %d lines with %q", tt.name, log, lines, tt.log)
		}
		if aborted := panicked == http.ErrAbortHandler; aborted != tt.abort {
			t.Errorf("%s: panicked with %v, want http.ErrAbortHandler: %t", tt.name, panicked, tt.abort)
		}
	}
}

func TestEdgeHidesClientsThatWentAway(t *testing.T) {
	var buf testkit.Buffer
	mux := http.NewServeMux()
	ctx, cancel := contextWithCancel(t)
	mux.Handle("GET /x", handler(func(http.ResponseWriter, *http.Request) error {
		cancel()
		return ctx.Err()
	}))
	e := &edge{mux: mux, log: slog.New(slog.NewTextHandler(&buf, nil))}
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
	if buf.String() != "" {
		t.Errorf("a client that went away is logged:\n%s", buf.String())
	}
}

// The trace of a request is in the log, and at hand for requests to others. A
// request without one begins one.
func TestEdgeKeepsTheTrace(t *testing.T) {
	const given = "4bf92f3577b34da6a3ce929d0e0e4736"
	for header, want := range map[string]string{
		"00-" + given + "-00f067aa0ba902b7-01":       given,
		"ff-" + given + "-00f067aa0ba902b7-01":       "",
		"00-" + given + "-0000000000000000-01":       "",
		"00-" + given[1:] + "\n-00f067aa0ba902b7-01": "",
		"": "",
	} {
		var buf testkit.Buffer
		mux := http.NewServeMux()
		next := http.Header{}
		mux.Handle("GET /x", handler(func(_ http.ResponseWriter, r *http.Request) error {
			trace.FromContext(r.Context()).SetHeader(next)
			return workspace.Errorf(workspace.NotFound, "nothing")
		}))
		e := &edge{mux: mux, log: slog.New(slog.NewTextHandler(&buf, nil))}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil)
		r.Header.Set("traceparent", header)
		r.Header.Set("tracestate", "a=b")
		e.ServeHTTP(httptest.NewRecorder(), r)
		passed, ok := trace.Parse(next)
		if !ok || want != "" && passed.ID != want || (next.Get("tracestate") == "a=b") != (want != "") || strings.Contains(next.Get("traceparent"), "00f067aa0ba902b7") {
			t.Errorf("the trace of %q is passed on as %v, want trace %q and a span of its own", header, next, want)
		}
		if log := buf.String(); !strings.Contains(log, "trace_id="+passed.ID) || want == "" && strings.Contains(log, given) {
			t.Errorf("the trace of %q is logged as\n%s\nwant %s", header, log, passed.ID)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("", "")
	f.Add(encodeCursor(workspace.Cursor{Created: 1, ID: "ws_a"}, ""), "")
	f.Add(encodeCursor(workspace.Cursor{Created: -1, ID: "ws_a"}, "0123456789abcdef"), "0123456789abcdef")
	f.Add(encodeCursor(workspace.Cursor{Created: 1, ID: "ws_a"}, "a b"), "a")
	f.Add("MSB3c19hCg", "")
	f.Add("MSB3c19hIA", "") // an empty scope, written out
	f.Fuzz(func(t *testing.T, text, scope string) {
		c, err := decodeCursor(text, scope)
		if err != nil {
			if workspace.KindOf(err) != workspace.Invalid {
				t.Errorf("decodeCursor(%q, %q) = %v, want Invalid", text, scope, err)
			}
			return
		}
		if got := encodeCursor(c, scope); text != "" && got != text {
			t.Errorf("encodeCursor(decodeCursor(%q, %q)) = %q", text, scope, got)
		}
	})
}

func FuzzStartOf(f *testing.F) {
	f.Add("1", "2")
	f.Add("", "9223372036854775808")
	f.Add("+1", "-1")
	f.Fuzz(func(t *testing.T, after, lastEventID string) {
		n, given, err := startOf(after, lastEventID)
		if err == nil && (n < 0 || given != (after != "" || lastEventID != "")) {
			t.Errorf("startOf(%q, %q) = %d, %t", after, lastEventID, n, given)
		}
		if err != nil && workspace.KindOf(err) != workspace.Invalid {
			t.Errorf("startOf(%q, %q) = %v, want Invalid", after, lastEventID, err)
		}
	})
}
