package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"workspace-server/internal/workspace"
)

// TestCalls checks what each call sends. The scripts of the program check that a real
// server accepts it.
func TestCalls(t *testing.T) {
	ctx := context.Background()
	tests := []struct {
		name string
		call func(c *Client) error
		want string // method, path and query, If-Match, Content-Type, and body
	}{
		{"list", func(c *Client) error {
			_, err := c.Workspaces(ctx, Filter{State: "stopped", Parent: "none", Template: "t", Text: "a&b", Labels: []string{"x", "y=z"}}, 0)
			return err
		}, `GET /base/v1/workspaces?label=x&label=y%3Dz&limit=200&parent=none&q=a%26b&state=stopped&template=t`},
		{"peers", func(c *Client) error { _, err := c.Peers(ctx, "ws_a", Filter{}, 3); return err }, "GET /base/v1/workspaces/ws_a/peers?limit=3"},
		{"get", func(c *Client) error { _, err := c.Workspace(ctx, "ws_a"); return err }, "GET /base/v1/workspaces/ws_a"},
		{"create", func(c *Client) error {
			_, err := c.Create(ctx, Spec{Name: "n", Template: "t", Parent: "ws_p", Labels: map[string]string{"a": "b"}, Desired: Running}, "k")
			return err
		}, `POST /base/v1/workspaces application/json {"name":"n","template":"t","parent":"ws_p","labels":{"a":"b"},"desired":"running"}`},
		{"create by name alone", func(c *Client) error { _, err := c.Create(ctx, Spec{Name: "n"}, "k"); return err }, `POST /base/v1/workspaces application/json {"name":"n"}`},
		{"update", func(c *Client) error {
			_, err := c.Update(ctx, "ws_a", 7, map[string]any{"parent": nil})
			return err
		}, `PATCH /base/v1/workspaces/ws_a "7" application/merge-patch+json {"parent":null}`},
		{"delete", func(c *Client) error { return c.Delete(ctx, "ws_a", 0, "", "") }, "DELETE /base/v1/workspaces/ws_a"},
		{"delete all", func(c *Client) error { return c.Delete(ctx, "ws_a", 2, "cascade", "delete") }, `DELETE /base/v1/workspaces/ws_a?children=cascade&volumes=delete "2"`},
		{"start", func(c *Client) error { _, err := c.Act(ctx, "ws_a", "start", 0); return err }, "POST /base/v1/workspaces/ws_a/start"},
		{"pause", func(c *Client) error { _, err := c.Act(ctx, "ws_a", "pause", 3); return err }, `POST /base/v1/workspaces/ws_a/pause "3"`},
		{"transitions", func(c *Client) error { _, err := c.Transitions(ctx, "ws_a", 0); return err }, "GET /base/v1/workspaces/ws_a/transitions?limit=200"},
		{"logs", func(c *Client) error { return c.Logs(ctx, "ws_a", -1, false, &bytes.Buffer{}) }, "GET /base/v1/workspaces/ws_a/logs"},
		{"follow logs", func(c *Client) error { return c.Logs(ctx, "ws_a", 0, true, &bytes.Buffer{}) }, "GET /base/v1/workspaces/ws_a/logs?follow=1&tail=0"},
		{"templates", func(c *Client) error { _, err := c.Templates(ctx); return err }, "GET /base/v1/templates"},
		{"secrets", func(c *Client) error { _, err := c.Secrets(ctx, ""); return err }, "GET /base/v1/secrets"},
		{"set a secret", func(c *Client) error { return c.SetSecret(ctx, "ws_a", "A/B", "v") }, `PUT /base/v1/workspaces/ws_a/secrets/A%2FB application/json {"value":"v"}`},
		{"delete a secret", func(c *Client) error { return c.DeleteSecret(ctx, "", "A") }, "DELETE /base/v1/secrets/A"},
		{"make a token", func(c *Client) error {
			_, err := c.CreateToken(ctx, NewToken{Name: "n", Role: "workspace", Workspace: "ws_a", ExpiresIn: 60})
			return err
		}, `POST /base/v1/tokens application/json {"name":"n","role":"workspace","workspace":"ws_a","expires_in":60}`},
		{"tokens", func(c *Client) error { _, err := c.Tokens(ctx, 1); return err }, "GET /base/v1/tokens?limit=1"},
		{"revoke", func(c *Client) error { return c.RevokeToken(ctx, "tok_a") }, "DELETE /base/v1/tokens/tok_a"},
		{"self", func(c *Client) error { _, err := c.Self(ctx); return err }, "GET /base/v1/tokens/self"},
		{"events", func(c *Client) error { return c.Events(ctx, 5, nil) }, "GET /base/v1/events?after=5"},
	}
	for _, tt := range tests {
		f := newFake(t, ok(`{"items":[],"next":""}`))
		c, _ := newClient(t, f.URL+"/base/")
		if err := tt.call(c); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		r := f.requests()[0]
		words := []string{r.Method, r.RequestURI, r.Header.Get("If-Match"), r.Header.Get("Content-Type"), f.read[0]}
		got := strings.Join(strings.Fields(strings.Join(words, " ")), " ")
		if got != tt.want || len(f.requests()) != 1 || r.Header.Get("Authorization") != "Bearer wst_test" {
			t.Errorf("%s sends %q, %d times, with %q\nwant %q, once, with the token", tt.name, got, len(f.requests()), r.Header.Get("Authorization"), tt.want)
		}
	}
}

// A document keeps fields that the client does not know.
func TestDocument(t *testing.T) {
	const text = `{"id":"ws_a","name":"n","color":"blue"}`
	f := newFake(t, ok(text))
	c, _ := newClient(t, f.URL)
	got, err := c.Workspace(t.Context(), "ws_a")
	if err != nil || got.Value.Name != "n" {
		t.Errorf("Workspace = %+v, %v, want one of the name n", got.Value, err)
	}
	if again, err := json.Marshal(got); err != nil || string(again) != text {
		t.Errorf("as JSON it is %s, %v, want %s", again, err, text)
	}
}

func TestListFollowsCursors(t *testing.T) {
	page := func(next string, ids ...string) http.HandlerFunc {
		items := []string{}
		for _, id := range ids {
			items = append(items, fmt.Sprintf(`{"id":%q}`, id))
		}
		return ok(fmt.Sprintf(`{"items":[%s],"next":%q}`, strings.Join(items, ","), next))
	}
	tests := []struct {
		limit   int
		pages   []http.HandlerFunc
		queries []string
		ids     string
		next    string
	}{
		{0, []http.HandlerFunc{page("")}, []string{"limit=200"}, "", ""},
		{0, []http.HandlerFunc{page("c1", "a", "b"), page("c2", "c"), page("", "d")}, []string{"limit=200", "cursor=c1&limit=200", "cursor=c2&limit=200"}, "a b c d", ""},
		{3, []http.HandlerFunc{page("c1", "a", "b"), page("c2", "c")}, []string{"limit=3", "cursor=c1&limit=1"}, "a b c", "c2"},
		{500, []http.HandlerFunc{page("", "a")}, []string{"limit=200"}, "a", ""},
	}
	for _, tt := range tests {
		f := newFake(t, tt.pages...)
		c, _ := newClient(t, f.URL)
		dialed := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(conn httptrace.GotConnInfo) {
			if !conn.Reused {
				dialed++
			}
		}})
		got, err := c.Workspaces(ctx, Filter{}, tt.limit)
		var ids, queries []string
		for _, item := range got.Items {
			ids = append(ids, item.Value.ID)
		}
		for _, r := range f.requests() {
			queries = append(queries, r.URL.RawQuery)
		}
		if err != nil || strings.Join(ids, " ") != tt.ids || got.Next != tt.next || !slices.Equal(queries, tt.queries) {
			t.Errorf("Workspaces(limit %d) = %q, next %q, %v after %q, want %q, next %q after %q", tt.limit, ids, got.Next, err, queries, tt.ids, tt.next, tt.queries)
		}
		if dialed != len(queries) {
			t.Errorf("Workspaces(limit %d) sends %d requests by %d connections, want one for each", tt.limit, len(queries), dialed)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		handler http.HandlerFunc
		status  int
		want    string // the whole text
	}{
		{problem(404, "There is no workspace."), 404, "There is no workspace."},
		{problem(500, "The server failed."), 500, "The server failed. (request id req1)"},
		{answer(502, "text/html", "<h1>Bad gateway</h1>"), 502, `HOST answered "502 Bad Gateway", but not as workspace-server does: check the address`},
		{answer(404, "application/problem+json", "{"), 404, `HOST answered "404 Not Found", but not as workspace-server does: check the address`},
		{answer(302, "text/plain", "", "Location", "/elsewhere"), 302, `HOST answered "302 Found", but not as workspace-server does: check the address`},
		{ok("<html>"), 0, "http://HOST did not answer as workspace-server does: check the address: invalid character '<' looking for beginning of value"},
		{cut, 0, "the connection to http://HOST failed: unexpected EOF"},
	}
	for _, tt := range tests {
		f := newFake(t, tt.handler)
		c, _ := newClient(t, f.URL)
		_, err := c.Workspace(t.Context(), "ws_a")
		want := strings.ReplaceAll(tt.want, "HOST", f.Listener.Addr().String())
		if err == nil || err.Error() != want || StatusOf(err) != tt.status || len(f.requests()) != 1 {
			t.Errorf("an answer as of %q = %v, status %d, %d requests, want %s, status %d, 1 request", tt.want, err, StatusOf(err), len(f.requests()), want, tt.status)
		}
	}
	f := newFake(t, problem(403, "No.", "Retry-After", "3"))
	c, _ := newClient(t, f.URL)
	_, err := c.Workspace(t.Context(), "ws_a")
	got, _ := errors.AsType[*Error](err)
	if want := (Error{Status: 403, Detail: "No.", Kind: "k", RequestID: "req1", RetryAfter: 3 * time.Second}); got == nil || *got != want {
		t.Errorf("a problem is read as %+v, want %+v", got, want)
	}
}

// The client gets the answer to a request that the server refuses unread.
func TestRefusedEarly(t *testing.T) {
	server := httptest.NewServer(problem(413, "That is too much."))
	defer server.Close()
	c, _ := newClient(t, server.URL)
	if err := c.SetSecret(t.Context(), "ws_a", "A", strings.Repeat("a", 8<<20)); StatusOf(err) != 413 || err.Error() != "That is too much." {
		t.Errorf("SetSecret of 8 MiB that the server does not read = %v, want what it says, of status 413", err)
	}
}

// A call ends when its context does, whatever the server does.
func TestContext(t *testing.T) {
	release := make(chan struct{})
	for name, begin := range map[string]string{"before the answer": "", "in the answer": "{"} {
		begun := make(chan struct{}, 2)
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
			if begin != "" {
				fmt.Fprint(w, begin)
				_ = http.NewResponseController(w).Flush()
			}
			begun <- struct{}{}
			<-release
		})
		c, _ := newClient(t, f.URL)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		if _, err := c.Workspace(ctx, "ws_a"); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled %s: %v, want %v", name, err, context.Canceled)
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := c.Workspace(ctx, "ws_a")
		if want := f.URL + " did not answer in time: wait longer with --timeout"; err == nil || err.Error() != want {
			t.Errorf("timed out %s: %v, want %s", name, err, want)
		}
		cancel()
	}
	close(release)
}

// boundOnly returns an address at which connections are refused until listen
// is called, and which no other program can take.
func boundOnly(t *testing.T) (address string, listen func() net.Listener) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { _ = file.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), func() net.Listener {
		if err := syscall.Listen(fd, 10); err != nil {
			t.Fatal(err)
		}
		ln, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
}

// The client repeats a create, with the same key, while no server answers or the answer
// says to try later, but not once the server has decided.
func TestCreateTriesAgain(t *testing.T) {
	address, listen := boundOnly(t)
	f := newFake(
		t,
		problem(503, "Later.", "Retry-After", "2"),
		problem(429, "Too many."),
		cut,
		answer(201, "application/json", `{"id":"ws_a"}`),
	)
	c, _ := newClient(t, address)
	var waited []time.Duration
	var told []string
	c.retry.told = func(why error) { told = append(told, why.Error()) }
	c.retry.pause = func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		if len(waited) == 2 { // the server starts
			srv := &http.Server{Handler: f.Config.Handler}
			ln := listen()
			go func() { _ = srv.Serve(ln) }()
			t.Cleanup(func() { _ = srv.Close() })
		}
		return nil
	}
	made, err := c.Create(t.Context(), Spec{Name: "n"}, "the-key")
	want := []time.Duration{100, 200, 2000, 800, 1600}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if err != nil || made.Value.ID != "ws_a" || !slices.Equal(waited, want) {
		t.Errorf("Create = %q, %v after pauses of %v, want ws_a after %v", made.Value.ID, err, waited, want)
	}
	for i, r := range f.requests() {
		if r.Header.Get("Idempotency-Key") != "the-key" || f.read[i] != `{"name":"n"}` {
			t.Errorf("request %d has the key %q and the body %s", i, r.Header.Get("Idempotency-Key"), f.read[i])
		}
	}
	if len(told) != 5 || !strings.Contains(told[0], "no server answers at "+address+" (") || told[2] != "Later. (request id req1)" {
		t.Errorf("told %q", told)
	}

	f = newFake(t, problem(400, "No."))
	c, _ = newClient(t, f.URL)
	if _, err := c.Create(t.Context(), Spec{}, "k"); StatusOf(err) != 400 || len(f.requests()) != 1 {
		t.Errorf("Create that is refused = %v after %d requests, want status 400 after one", err, len(f.requests()))
	}
}

// Repeating ends with the context, and the error says why the last try failed.
func TestCreateGivesUp(t *testing.T) {
	address, _ := boundOnly(t)
	for stop, want := range map[error]string{
		context.DeadlineExceeded: "no server answers at " + address,
		context.Canceled:         context.Canceled.Error(),
	} {
		c, _ := newClient(t, address)
		pauses := 0
		c.retry.pause = func(context.Context, time.Duration) error {
			if pauses++; pauses == 3 {
				return stop
			}
			return nil
		}
		if _, err := c.Create(t.Context(), Spec{Name: "n"}, "k"); err == nil || !strings.Contains(err.Error(), want) || pauses != 3 {
			t.Errorf("Create without a server, until %v = %v after %d pauses, want %s after 3", stop, err, pauses, want)
		}
	}

	// A try that the time cuts short has less to say than the one before it.
	c, _ := newClient(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries := 0
	err := c.retry.do(ctx, func() error {
		if tries++; tries == 2 {
			cancel()
			return &Unreachable{Server: address, Err: context.DeadlineExceeded}
		}
		return &Error{Status: 503, Detail: "Later."}
	})
	if StatusOf(err) != 503 || tries != 2 {
		t.Errorf("tried %d times, it fails with %v, want status 503 after 2", tries, err)
	}
}

// The client sends a call only once unless it is safe to repeat.
func TestNothingElseIsSentTwice(t *testing.T) {
	f := newFake(t, problem(503, "Later."))
	c, waited := newClient(t, f.URL)
	_, actErr := c.Act(t.Context(), "ws_a", "start", 0)
	_, updateErr := c.Update(t.Context(), "ws_a", 1, map[string]any{"name": "n"})
	if StatusOf(actErr) != 503 || StatusOf(updateErr) != 503 || len(f.requests()) != 2 || len(*waited) != 0 {
		t.Errorf("Act = %v, Update = %v, %d requests, want status 503 of each, from one request each", actErr, updateErr, len(f.requests()))
	}
}

func TestAwait(t *testing.T) {
	state := func(state string) http.HandlerFunc { return ok(`{"id":"ws_a","status":{"state":"` + state + `"}}`) }
	f := newFake(t, state("starting"), problem(503, "Later."), cut, state("starting"), state("running"))
	c, waited := newClient(t, f.URL)
	got, err := c.Await(t.Context(), "ws_a", func(w workspace.Workspace) bool { return w.Status.State == Running })
	if err != nil || got.Value.Status.State != Running || len(f.requests()) != 5 || len(*waited) != 4 {
		t.Errorf("Await = %q, %v after %d looks and %v, want running after 5", got.Value.Status.State, err, len(f.requests()), *waited)
	}
	f = newFake(t, state("starting"), problem(404, "It is gone."))
	c, _ = newClient(t, f.URL)
	if _, err := c.Await(t.Context(), "ws_a", func(workspace.Workspace) bool { return false }); StatusOf(err) != 404 {
		t.Errorf("Await of one that goes = %v, want status 404", err)
	}
}

func TestLogs(t *testing.T) {
	const lines = "one\ntwo\n"
	f := newFake(t, answer(200, "text/plain", lines), func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "one\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	c, _ := newClient(t, f.URL)
	var out bytes.Buffer
	if err := c.Logs(t.Context(), "ws_a", 10, false, &out); err != nil || out.String() != lines {
		t.Errorf("Logs = %q, %v, want %q", out.String(), err, lines)
	}
	out.Reset()
	if err := c.Logs(t.Context(), "ws_a", 10, true, &out); err == nil || out.String() != "one\n" {
		t.Errorf("Logs that are cut = %q, %v, want what came, and an error", out.String(), err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(ok(`{"id":"ws_a"}`))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	c, _ := newClient(t, server.URL)
	if _, err := c.Workspace(t.Context(), "ws_a"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that no authority signed: %v, want an error", err)
	}
	c, _ = newClient(t, server.URL)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	if got, err := c.Workspace(t.Context(), "ws_a"); err != nil || got.Value.ID != "ws_a" {
		t.Errorf("Workspace by TLS = %q, %v, want ws_a", got.Value.ID, err)
	}
}
