package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/testkit"
)

// slow sends a request whose body does not end until the test says so.
func slow(t *testing.T, r *running) (finish func(), answer <-chan string) {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	const body = `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"slow"}]}}}`
	if _, err := fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil { // it is being read
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(nc)
		got <- string(text)
	}()
	return func() { _, _ = io.WriteString(nc, body) }, got
}

func TestFinishesRequests(t *testing.T) {
	p := newPlatform(t)
	r := runAgent(t, p, &naps{wake: make(chan struct{})}, "", func(a *agent) { a.drain = time.Minute })
	p.next(t, registerPath, lease)
	finish, answer := slow(t, r)
	r.stop()
	for { // until it no longer listens
		nc, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			break
		}
		_ = nc.Close()
	}
	select {
	case err := <-r.done:
		t.Fatalf("the agent ends with %v before its request", err)
	default:
	}
	finish()
	if got := <-answer; !strings.Contains(got, "I was told: slow") {
		t.Errorf("the request that came before the end is answered by %q", got)
	}
	if err := r.ends(t); err != nil {
		t.Errorf("the agent ends with %v", err)
	}
}

func TestCutsRequestsOff(t *testing.T) {
	p := newPlatform(t)
	r := runAgent(t, p, &naps{wake: make(chan struct{})}, "", func(a *agent) { a.drain = 10 * time.Millisecond })
	p.next(t, registerPath, lease)
	_, answer := slow(t, r)
	r.stops(t)
	if got := <-answer; strings.Contains(got, "I was told") {
		t.Errorf("a request that does not end is answered by %q", got)
	}
	if !strings.Contains(r.log.String(), "requests were cut off") {
		t.Errorf("the log does not say that a request was cut off:\n%s", r.log)
	}
}

// The agent ends at once even while the platform does not answer.
func TestStopsWhileItCalls(t *testing.T) {
	p := newPlatform(t)
	r := runAgent(t, p, &naps{}, "", nil)
	<-p.calls // and no answer
	r.stops(t)
}

func TestRunReadsTheEnvironment(t *testing.T) {
	p := newPlatform(t)
	log := &testkit.Buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, environment(p.URL, ""), slog.New(slog.NewTextHandler(log, nil))) }()
	body := p.next(t, registerPath, lease)
	resp, err := http.Get(body["card"].(map[string]any)["url"].(string) + "healthz")
	if err != nil || resp.StatusCode != 200 || resp.Body.Close() != nil {
		t.Errorf("GET /healthz at the card's URL = %v, %v", resp, err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil || strings.Contains(log.String(), secret) {
		t.Errorf("Run = %v, want nil, and no token in its log:\n%s", err, log)
	}
}

func TestEnvironment(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"WORKSPACE_ID", "", "WORKSPACE_ID is missing"},
		{"WORKSPACE_TOKEN", "", "WORKSPACE_TOKEN is missing"},
		{"WORKSPACE_TOKEN", "secret\r\nX: y", "WORKSPACE_TOKEN is missing"},
		{"WORKSPACE_GENERATION", "", "WORKSPACE_GENERATION is not accepted"},
		{"WORKSPACE_GENERATION", "x", "WORKSPACE_GENERATION is not accepted"},
		{"WORKSPACE_GENERATION", "-1", "WORKSPACE_GENERATION is not accepted"},
		{"PLATFORM_URL", "", "PLATFORM_URL is not accepted"},
		{"PLATFORM_URL", "platform:8080", "PLATFORM_URL is not accepted"},
		{"PLATFORM_URL", "ftp://platform", "PLATFORM_URL is not accepted"},
		{"PLATFORM_URL", "http://secret@platform", "PLATFORM_URL is not accepted"},
		{"PLATFORM_URL", "http://platform?secret", "PLATFORM_URL is not accepted"},
		{"AGENT_LISTEN", "", "AGENT_LISTEN is missing"},
		{"AGENT_LISTEN", "127.0.0.1:x", "listen tcp"},
		{"LISTEN_FDS", "2", "descriptor 3 is not a listening socket"},
	}
	for _, tt := range tests {
		getenv := environment("http://127.0.0.1:1", "")
		err := Run(t.Context(), func(name string) string {
			if name == tt.name {
				return tt.value
			}
			return getenv(name)
		}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Run with %s=%q = %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestBase(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80/", "[::1]:80": "http://[::1]:80/",
		"0.0.0.0:80": "http://" + host + ":80/", "[::]:80": "http://" + host + ":80/",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := base(tcp); got != want {
			t.Errorf("base(%s) = %s, want %s", addr, got, want)
		}
	}
}
