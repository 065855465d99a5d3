package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const secret = "wst_the-token"

// call is a call that the platform got.
type call struct {
	path string
	body map[string]any
}

// platform answers calls as the test says.
type platform struct {
	*httptest.Server
	calls  chan call
	answer chan http.HandlerFunc // of each call, in turn
}

// newPlatform checks what holds for all calls.
func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{calls: make(chan call), answer: make(chan http.HandlerFunc)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+secret {
			t.Errorf("Authorization: %s", got)
		}
		if got := r.Header.Get("Content-Type"); r.Method != "POST" || got != "application/json" {
			t.Errorf("%s with Content-Type: %s, want POST of application/json", r.Method, got)
		}
		c := call{path: r.URL.EscapedPath()}
		if err := json.NewDecoder(r.Body).Decode(&c.body); err != nil {
			t.Errorf("the body of %s: %v", c.path, err)
		}
		select {
		case p.calls <- c:
		case <-r.Context().Done():
			return
		}
		select {
		case answer := <-p.answer:
			answer(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// next waits for a call, answers it, and returns it.
func (p *platform) next(t *testing.T, path string, answer http.HandlerFunc) map[string]any {
	t.Helper()
	select {
	case c := <-p.calls:
		p.answer <- answer
		if c.path != path {
			t.Errorf("the platform was called at %s, want %s", c.path, path)
		}
		return c.body
	case <-time.After(time.Minute):
		t.Fatalf("the platform was not called at %s", path)
		return nil
	}
}

const (
	registerPath  = "/v1/workspaces/ws_a/register"
	heartbeatPath = "/v1/workspaces/ws_a/heartbeat"
)

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func lease(w http.ResponseWriter, r *http.Request) {
	status(200, `{"lease_seconds":30,"heartbeat_seconds":7}`)(w, r)
}

func beat(w http.ResponseWriter, r *http.Request) { status(204, "")(w, r) }

// naps records how long an agent sleeps, which takes no time; it wakes when the
// test says so.
type naps struct {
	mu   sync.Mutex
	took []time.Duration
	wake chan struct{} // nil: at once
}

func (n *naps) sleep(ctx context.Context, d time.Duration) error {
	n.mu.Lock()
	n.took = append(n.took, d)
	n.mu.Unlock()
	if n.wake == nil {
		return ctx.Err()
	}
	select {
	case <-n.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *naps) list() []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.took)
}

// running is a running agent.
type running struct {
	*agent
	url  string
	log  *testkit.Buffer
	naps *naps
	stop context.CancelFunc
	done chan error
}

func environment(url, configs string) func(string) string {
	env := map[string]string{
		"WORKSPACE_ID": "ws_a", "WORKSPACE_NAME": "Ada", "WORKSPACE_MODEL": "model-x", "WORKSPACE_GENERATION": "4",
		"WORKSPACE_TOKEN": secret, "PLATFORM_URL": url + "/", "AGENT_CONFIGS": configs, "AGENT_LISTEN": "127.0.0.1:0",
	}
	return func(name string) string { return env[name] }
}

func runAgent(t *testing.T, p *platform, naps *naps, configs string, change func(*agent)) *running {
	t.Helper()
	s, err := load(environment(p.URL, configs))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := &testkit.Buffer{}
	r := &running{
		agent: newAgent(s, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		url:   "http://" + ln.Addr().String(), log: log, naps: naps, done: make(chan error, 1),
	}
	r.sleep = naps.sleep
	if change != nil {
		change(r.agent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- r.run(ctx, ln)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		http.DefaultClient.CloseIdleConnections()
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has the token:\n%s", log)
		}
	})
	return r
}

// ends waits for the agent's end.
func (r *running) ends(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("the agent does not end; its log:\n%s", r.log)
		return nil
	}
}

func (r *running) stops(t *testing.T) {
	t.Helper()
	r.stop()
	if err := r.ends(t); err != nil {
		t.Errorf("the agent ends with %v; its log:\n%s", err, r.log)
	}
}

// post returns the body of an answer with status 200.
func (r *running) post(t *testing.T, body string) (text, contentType string) {
	t.Helper()
	resp, err := http.Post(r.url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != 200 {
		t.Fatalf("POST %s: %s, %v: %s", body, resp.Status, err, got)
	}
	return string(got), resp.Header.Get("Content-Type")
}
