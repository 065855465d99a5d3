package a2a

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"workspace-server/internal/testkit"
	"workspace-server/internal/trace"
	"workspace-server/internal/workspace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// loopback is the network that tests allow for agents with URLs.
const loopback = "127.0.0.1/32"

// nobody is an address where no program listens, even by chance: the system gives its
// port to no one who asks for any.
const nobody = "127.0.0.1:1"

// platform is a server that delivers each message to one agent.
type platform struct {
	*Proxy
	t    *testing.T
	to   Target
	url  string
	stop func() // the server stops

	mu   sync.Mutex
	errs []error // of Deliver
	done chan struct{}
}

// newPlatform serves on a loopback address. Its URLs may lead to networks.
func newPlatform(t *testing.T, to Target, networks ...string) *platform {
	t.Helper()
	return newHastyPlatform(t, 0, to, networks...)
}

// newHastyPlatform is newPlatform with a server that allows an answer so much time; 0
// means any.
func newHastyPlatform(t *testing.T, writeTimeout time.Duration, to Target, networks ...string) *platform {
	t.Helper()
	stopping, stop := context.WithCancel(context.Background())
	p := &platform{Proxy: New(Options{Networks: prefixes(networks...), Stopping: stopping}), t: t, to: to, stop: stop, done: make(chan struct{}, 100)}
	srv := httptest.NewUnstartedServer(p)
	srv.Config.WriteTimeout = writeTimeout
	srv.Start()
	p.url = srv.URL
	t.Cleanup(func() {
		stop()
		srv.Close()
	})
	return p
}

// ServeHTTP delivers a message as the API does, and answers with the kind of an error.
func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() { p.done <- struct{}{} }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Request-Id", "the-id")
	seen := &recorder{ResponseWriter: w}
	if part, ok := trace.Parse(r.Header); ok {
		r = r.WithContext(trace.NewContext(r.Context(), part))
	}
	err = p.Deliver(seen, r, p.to, body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
	switch {
	case err == nil:
	case seen.wrote:
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, string(workspace.KindOf(err))+": "+workspace.Message(err))
	}
}

// recorder records whether an answer has begun.
type recorder struct {
	http.ResponseWriter
	wrote bool
}

func (r *recorder) WriteHeader(status int) {
	r.wrote = true
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// lastError returns what Deliver returned last.
func (p *platform) lastError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.errs) == 0 {
		return errors.New("Deliver was not called")
	}
	return p.errs[len(p.errs)-1]
}

// post sends a message, with headers as "Name: value".
func (p *platform) post(ctx context.Context, body string, headers ...string) (*http.Response, error) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client.Do(req)
}

// send sends a message and returns the whole answer.
func (p *platform) send(body string, headers ...string) (*http.Response, string) {
	p.t.Helper()
	resp, err := p.post(p.t.Context(), body, headers...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, string(text)
}

// wantRefused sends a message that must fail before an answer begins.
func (p *platform) wantRefused(call string, kind workspace.Kind, message string) {
	p.t.Helper()
	resp, got := p.send("{}")
	want := string(kind) + ": "
	if resp.StatusCode != http.StatusTeapot || !strings.HasPrefix(got, want) || !strings.Contains(got, message) {
		p.t.Errorf("%s = %d %q (%v), want %q with %q", call, resp.StatusCode, got, p.lastError(), want, message)
	}
}

// agent is a server that counts its requests.
type agent struct {
	address string
	calls   atomic.Int64
}

func newAgent(t *testing.T, handle http.HandlerFunc) *agent {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newAgentOn(t, ln, handle)
}

func newAgentOn(t *testing.T, ln net.Listener, handle http.HandlerFunc) *agent {
	t.Helper()
	a := &agent{address: ln.Addr().String()}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		handle(w, r)
	}))
	_ = srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	return a
}

func (a *agent) port() string {
	_, port, _ := net.SplitHostPort(a.address)
	return port
}

// rawAgent passes connections to handle, and counts them.
func rawAgent(t *testing.T, handle func(net.Conn)) *agent {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{address: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			a.calls.Add(1)
			wg.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return a
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func addr(t *testing.T, text string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
