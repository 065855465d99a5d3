package api

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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
				return workspace.Errorf(workspace.Invalid, "The name is required")
			},
			400, "The name is required", "level=INFO", false,
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
			"late end by the caller", func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = w.Write([]byte("half"))
				return workspace.Errorf(workspace.Unauthorized, "This token has expired.")
			},
			200, "half", "level=INFO", true,
		},
		{
			"late end by the database", func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = w.Write([]byte("half"))
				return workspace.Wrap(workspace.Unavailable, "Try again.", secret)
			},
			200, "half", "level=ERROR", true,
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

// A client that goes away is no failure of the server, whether its answer has begun or
// not.
func TestEdgeHidesClientsThatWentAway(t *testing.T) {
	for _, begun := range []bool{false, true} {
		var buf testkit.Buffer
		mux := http.NewServeMux()
		ctx, cancel := contextWithCancel(t)
		mux.Handle("GET /x", handler(func(w http.ResponseWriter, _ *http.Request) error {
			if begun {
				_, _ = w.Write([]byte("half"))
			}
			cancel()
			return workspace.Wrap(workspace.BadGateway, "The agent's answer broke off.", ctx.Err())
		}))
		e := &edge{mux: mux, log: slog.New(slog.NewTextHandler(&buf, nil))}
		func() {
			defer func() {
				if value := recover(); (value == http.ErrAbortHandler) != begun {
					t.Errorf("a client that went away, within an answer = %v: the edge panics with %v", begun, value)
				}
			}()
			e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
		}()
		if buf.String() != "" {
			t.Errorf("a client that went away is logged, within an answer = %v:\n%s", begun, buf.String())
		}
	}
}

// constants returns the values of the constants of a type in a file.
func constants(t *testing.T, file, name string) []string {
	t.Helper()
	f, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == name {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text)
		}
		return true
	})
	if len(all) == 0 {
		t.Fatalf("%s has no constants of type %s", file, name)
	}
	return all
}

func TestStatusOf(t *testing.T) {
	var kinds []string
	for _, kind := range workspace.Kinds() {
		kinds = append(kinds, string(kind))
		status := statusOf(kind)
		if known := status != http.StatusInternalServerError; known != (kind != workspace.Internal) {
			t.Errorf("statusOf(%q) = %d: the table lacks the kind", kind, status)
		}
		if got := problemOf(workspace.Errorf(kind, "x")).Status; got != status {
			t.Errorf("an error of the kind %q is answered %d, want %d", kind, got, status)
		}
		if got := problemOf(&problem{Kind: kind}).Status; got != status {
			t.Errorf("a problem of the kind %q is answered %d, want %d", kind, got, status)
		}
	}
	if want := constants(t, "../workspace/errors.go", "Kind"); !slices.Equal(kinds, want) {
		t.Errorf("workspace.Kinds() = %q, want all constants, %q", kinds, want)
	}
}

// The trace of a request is in the log, and in the context for requests that follow.
// A request without one gets a new one.
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
