package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

func TestRegistersAndSendsHeartbeats(t *testing.T) {
	p := newPlatform(t)
	naps := &naps{wake: make(chan struct{})}
	before := time.Now().UnixMilli()
	r := runAgent(t, p, naps, "", nil)
	body := p.next(t, registerPath, lease)
	card, ok := body["card"].(map[string]any)
	if body["generation"] != 4.0 || !ok || card["name"] != "Ada" || card["url"] != r.url+"/" {
		t.Errorf("register has the body %v, want generation 4 and the card", body)
	}
	for _, field := range []string{"description", "version", "skills", "capabilities", "supportedInterfaces", "defaultInputModes"} {
		if card[field] == nil {
			t.Errorf("the card has no %s: %v", field, card)
		}
	}
	served, err := http.Get(r.url + CardPath)
	if err != nil {
		t.Fatal(err)
	}
	var same map[string]any
	err = json.NewDecoder(served.Body).Decode(&same)
	if err = errors.Join(err, served.Body.Close()); err != nil || fmt.Sprint(same) != fmt.Sprint(card) {
		t.Errorf("GET %s = %v, %v, want what was registered, %v", CardPath, same, err, card)
	}

	naps.wake <- struct{}{}
	first := p.next(t, heartbeatPath, beat)
	for field, want := range map[string]any{"generation": 4.0, "active_tasks": 0.0, "current_task": "", "error_rate": 0.0} {
		if first[field] != want {
			t.Errorf("the first heartbeat has %s %v, want %v", field, first[field], want)
		}
	}
	if uptime, ok := first["uptime_seconds"].(float64); !ok || uptime < 0 || int64(uptime) > (time.Now().UnixMilli()-before)/1000 {
		t.Errorf("the first heartbeat has uptime_seconds %v, want the whole seconds since the start", first["uptime_seconds"])
	}
	started, _ := first["last_active"].(float64)
	if int64(started) < before || int64(started) > time.Now().UnixMilli() {
		t.Errorf("the first heartbeat has last_active %v, want the start", first["last_active"])
	}
	// A heartbeat is no activity.
	naps.wake <- struct{}{}
	if second := p.next(t, heartbeatPath, beat); second["last_active"] != first["last_active"] {
		t.Errorf("last_active = %v, want %v as before", second["last_active"], first["last_active"])
	}
	// A call that is no message is none, either, but counts as an error.
	r.post(t, `{"jsonrpc":"2.0","id":1,"method":"tasks/get"}`)
	naps.wake <- struct{}{}
	if third := p.next(t, heartbeatPath, beat); third["last_active"] != first["last_active"] || third["error_rate"] != 1.0 {
		t.Errorf("after an error the heartbeat is %v, want the previous last_active and error_rate 1", third)
	}
	for time.Now().UnixMilli() == int64(started) {
		continue
	}
	r.post(t, `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"a"}]}}}`)
	naps.wake <- struct{}{}
	if last := p.next(t, heartbeatPath, beat); last["last_active"].(float64) <= started || last["error_rate"] != 0.5 {
		t.Errorf("after a message the heartbeat is %v, want a later last_active and error_rate 0.5", last)
	}
	for _, nap := range naps.list() {
		if nap != 7*time.Second {
			t.Errorf("the agent sleeps for %v between heartbeats, want what the platform says", nap)
		}
	}
	r.stops(t)
}

// The agent repeats a call until the platform has decided.
func TestCallsAgain(t *testing.T) {
	p := newPlatform(t)
	naps := &naps{}
	r := runAgent(t, p, naps, "", nil)
	cut := func(w http.ResponseWriter, _ *http.Request) {
		if nc, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = nc.Close()
		}
	}
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "9")
		status(429, `{"detail":"Too much."}`)(w, r)
	}
	for _, answer := range []http.HandlerFunc{cut, status(503, ""), status(500, "<html>"), status(200, "garbage"), busy, status(502, ""), status(504, "")} {
		p.next(t, registerPath, answer)
	}
	p.next(t, registerPath, lease)
	p.next(t, heartbeatPath, cut)
	p.next(t, heartbeatPath, status(500, ""))
	p.next(t, heartbeatPath, beat)
	p.next(t, heartbeatPath, status(410, `{"detail":"The workspace was stopped."}`))
	err := r.ends(t)
	if _, ok := errors.AsType[Unwanted](err); !ok || !strings.Contains(err.Error(), "The workspace was stopped.") {
		t.Errorf("the agent ends with %v, want that it is unwanted, and why", err)
	}
	// It waits longer each time, up to a limit, and as long as the platform asks.
	const second = time.Second
	limits := [][2]time.Duration{
		{second / 10, second / 5},
		{second / 5, 2 * second / 5},
		{2 * second / 5, 4 * second / 5},
		{4 * second / 5, 8 * second / 5},
		{9 * second, 9 * second},
		{16 * second / 5, 32 * second / 5},
		{5 * second, 10 * second},
		{7 * second, 7 * second},
		{second / 10, second / 5},
		{second / 5, 2 * second / 5},
		{7 * second, 7 * second},
	}
	took := naps.list()
	if len(took) != len(limits) {
		t.Fatalf("the agent sleeps for %v, want %d times", took, len(limits))
	}
	for i, nap := range took {
		if nap < limits[i][0] || nap > limits[i][1] {
			t.Errorf("sleep %d is for %v, want between %v and %v", i+1, nap, limits[i][0], limits[i][1])
		}
	}
	for text, want := range map[string]int{"does not answer": 2, "answers again": 2} {
		if got := strings.Count(r.log.String(), text); got != want {
			t.Errorf("the log has %q %d times, want %d:\n%s", text, got, want, r.log)
		}
	}
}

func TestPlatformDecides(t *testing.T) {
	elsewhere := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/login", http.StatusTemporaryRedirect)
	}
	for _, tt := range []struct {
		answer   http.HandlerFunc
		unwanted bool
	}{
		{status(401, ""), true},
		{status(403, "no json"), true},
		{status(404, `{"detail":"gone"}`), true},
		{status(409, ""), true},
		{status(410, ""), true},
		{status(400, `{"detail":"no"}`), false},
		{status(422, ""), false},
		{elsewhere, false},
	} {
		for _, at := range []string{registerPath, heartbeatPath} {
			p := newPlatform(t)
			r := runAgent(t, p, &naps{}, "", nil)
			if at == heartbeatPath {
				p.next(t, registerPath, lease)
			}
			p.next(t, at, tt.answer)
			err := r.ends(t)
			if _, ok := errors.AsType[Unwanted](err); err == nil || ok != tt.unwanted {
				t.Errorf("after an answer to %s the agent ends with %v, want unwanted: %t", at, err, tt.unwanted)
			}
			if _, err := http.Get(r.url + "/healthz"); err == nil {
				t.Error("the agent answers after its end")
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	p := newPlatform(t)
	configs := t.TempDir()
	r := runAgent(t, p, &naps{wake: make(chan struct{})}, configs, nil)
	p.next(t, registerPath, lease)
	defer r.stops(t)
	if resp, err := http.Get(r.url + "/healthz"); err != nil || resp.StatusCode != 200 || resp.Body.Close() != nil {
		t.Errorf("GET /healthz = %v, %v", resp, err)
	}
	instructions := filepath.Join(configs, "prompts", "system.md")
	if err := errors.Join(os.Mkdir(filepath.Dir(instructions), 0o755), os.WriteFile(instructions, []byte("\n  Be brief.\nAnd kind.\n"), 0o644),
		os.WriteFile(filepath.Join(configs, "config.yaml"), []byte("name: hidden"), 0o644), os.Symlink("/etc/passwd", filepath.Join(configs, "passwd.md"))); err != nil {
		t.Fatal(err)
	}
	const about = "This is the reference agent of workspace Ada, where model model-x would answer. I was told: "
	told := about + `hello\nworld\nParts that are no text: 1\nMy instructions in passwd.md: (cannot be read)\nMy instructions in prompts/system.md: Be brief.`
	message := `{"message":{"contextId":"c","messageId":"m","role":"user","parts":[{"kind":"text","text":"hello"},{"text":"world"},{"kind":"file","file":{}}]}}`
	v03 := `"result":{"kind":"message","role":"agent","messageId":"ID","contextId":"c","parts":[{"kind":"text","text":"` + told + `"}]}`
	v1 := `"result":{"message":{"role":"ROLE_AGENT","messageId":"ID","contextId":"c","parts":[{"text":"` + told + `"}]}}`
	tests := []struct{ body, want string }{
		{`{"jsonrpc":"2.0","id":1,"method":"message/send","params":` + message + `}`, `{"jsonrpc":"2.0","id":1,` + v03 + "}\n"},
		{`{"jsonrpc":"2.0","id":"x","method":"SendMessage","params":` + message + `}`, `{"jsonrpc":"2.0","id":"x",` + v1 + "}\n"},
		{`{"jsonrpc":"2.0","id":-2,"method":"message/stream","params":` + message + `}`, `data: {"jsonrpc":"2.0","id":-2,` + v03 + "}\n\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":` + message + `}`, `data: {"jsonrpc":"2.0","id":1,` + v1 + "}\n\n"},
		{`{`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"The request is not JSON."}}` + "\n"},
		{``, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"The request is not JSON."}}` + "\n"},
		{`[]`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"The request is not a JSON-RPC call. Send an object."}}` + "\n"},
		{`{"jsonrpc":"2.0","method":"SendMessage"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"The id must be a string or a number."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":{},"method":"SendMessage"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"The id must be a string or a number."}}` + "\n"},
		{`{"jsonrpc":"1.0","id":1,"method":"SendMessage"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"The field jsonrpc must be \"2.0\", and the field method is required."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"The field params.message must be a message with parts."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"parts":[]}}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"The field params.message must be a message with parts."}}` + "\n"},
		{`{"jsonrpc":"2.0","id":1,"method":"tasks/get"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"There is no method \"tasks/get\". Use SendMessage or SendStreamingMessage, or message/send or message/stream."}}` + "\n"},
	}
	for _, tt := range tests {
		got, contentType := r.post(t, tt.body)
		want := "application/json"
		if strings.HasPrefix(tt.want, "data: ") {
			want = "text/event-stream"
		}
		// Ids of messages are not to be foretold.
		if _, rest, ok := strings.Cut(got, `"messageId":"`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			if len(id) < 20 {
				t.Errorf("POST %s: the message has the id %q", tt.body, id)
			}
			got = strings.Replace(got, id, "ID", 1)
		}
		if got != tt.want || contentType != want {
			t.Errorf("POST %s\n got %s %s\nwant %s %s", tt.body, contentType, got, want, tt.want)
		}
	}
	// An edit is seen by the next answer, and so is an odd file.
	for text, want := range map[string]string{"Be long.": "system.md: Be long.", " \n\n": "system.md: (empty)", strings.Repeat("é", 300): "system.md: " + strings.Repeat("é", 200) + "…"} {
		if err := os.WriteFile(instructions, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _ := r.post(t, tests[0].body); !strings.Contains(got, want+`"`) {
			t.Errorf("after an edit the answer is %s, want %q at its end", got, want)
		}
	}
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(configs, fmt.Sprintf("%d.md", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := r.post(t, tests[0].body); strings.Count(got, "My instructions in") != maxInstructions || !strings.Contains(got, "There are more instructions.") {
		t.Errorf("with many instructions the answer is %s", got)
	}
	resp, err := http.Post(r.url, "application/json", strings.NewReader(strings.Repeat(" ", maxBody+1)))
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || resp.Body.Close() != nil {
		t.Errorf("POST of more than %d bytes = %v, %v, want 413", maxBody, resp, err)
	}
}

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
		{"LISTEN_FDS", "2", "exactly one socket"},
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
