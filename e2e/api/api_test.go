// Package api holds the served description of the API against what the real
// server does, by a validator that knows nothing of it.
package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"e2e/harness/checkout"
)

// start runs the server with an embedded database, and returns its address and
// the first administrator's token.
func start(t *testing.T) (url, token string) {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exe, state := filepath.Join(dir, "workspace-server"), filepath.Join(dir, "state")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", exe, "./cmd/workspace-server")
	build.Dir = filepath.Join(root, "workspace-server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, exe, "serve")
	cmd.Env = []string{
		"LISTEN_ADDR=127.0.0.1:0", "ENV=development", "STATE_DIRECTORY=" + state,
		"TEMPLATES_DIR=" + filepath.Join(root, "workspace-server", "templates"),
		"PLUGINS_DIR=" + filepath.Join(root, "workspace-server", "plugins"),
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	lines := bufio.NewScanner(io.TeeReader(log, &text))
	ended := make(chan error, 1)
	t.Cleanup(func() {
		defer cancel()
		awaitNoAgents(t, state)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("the server ends with %v; its log:\n%s", err, &text)
		}
	})
	found := make(chan string, 1)
	go func() {
		defer close(found)
		for lines.Scan() {
			if _, rest, ok := strings.Cut(lines.Text(), "url="); ok {
				address, _, _ := strings.Cut(rest, " ")
				found <- address
			}
		}
		ended <- errors.Join(lines.Err(), cmd.Wait())
	}()
	url, ok := <-found
	if !ok {
		t.Fatal("the server does not say where it serves")
	}
	secret, err := os.ReadFile(filepath.Join(state, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	return url, strings.TrimSpace(string(secret))
}

// awaitNoAgents waits until the server has removed all that ran in workspaces.
func awaitNoAgents(t *testing.T, state string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(state, "agents", "*", "ws_*"))
		if err == nil && len(left) == 0 {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Errorf("of the agents there is %v left, %v", left, err)
			return
		}
	}
}

// A call is a request, and the status that it has to be answered with.
type call struct {
	request string // method and path
	body    string
	header  string // another one, as "Name: value"
	status  int
}

// TestDocument asks for everything that the document describes, and has each
// request and each answer validated.
func TestDocument(t *testing.T) {
	url, token := start(t)
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	t.Cleanup(client.CloseIdleConnections)
	text := get(t, client, url+"/openapi.json")
	document, err := libopenapi.NewDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	if ok, errs := v.ValidateDocument(); !ok {
		for _, err := range errs {
			t.Errorf("the document: %s: %s", err.Message, err.Reason)
		}
	}

	ids := map[string]string{} // of what the calls made, by the names below
	calls := []call{
		{"GET /healthz", "", "", 200},
		{"GET /readyz", "", "", 200},
		{"GET /openapi.json", "", "", 200},
		{"GET /docs", "", "", 200},
		{"GET /metrics", "", "", 200},
		{"POST /v1/workspaces", `{"name":"root","template":"triage","labels":{"team":"blue"}}`, "Idempotency-Key: one", 201},
		{"POST /v1/workspaces", `{"name":"child","parent":"ROOT"}`, "", 201},
		{"GET /v1/workspaces?limit=1&state=stopped&parent=none&template=triage&q=ROO&label=team=blue", "", "", 200},
		{"GET /v1/workspaces/ROOT", "", "", 200},
		{"GET /v1/workspaces/ROOT", "", `If-None-Match: "1"`, 304},
		{"PATCH /v1/workspaces/CHILD", `{"name":"renamed","labels":{"a":"b","c":null}}`, "", 200},
		{"PATCH /v1/workspaces/CHILD", `{"parent":null}`, `If-Match: "9"`, 412},
		{"GET /v1/workspaces/ROOT/peers", "", "", 200},
		{"GET /v1/workspaces/ROOT/peers/CHILD", "", "", 200},
		{"GET /v1/workspaces/ROOT/peers/CHILD/agent-card", "", "", 404},
		{"POST /v1/workspaces/ROOT/register", `{"generation":1,"card":{"name":"a","version":"1"}}`, "", 409},
		{"POST /v1/workspaces/ROOT/heartbeat", `{"generation":1,"active_tasks":0,"current_task":"","error_rate":0,"uptime_seconds":12,"last_active":0}`, "", 409},
		{"GET /v1/workspaces/ROOT/agent", "", "", 404},
		{"GET /v1/workspaces/ROOT/agent-card", "", "", 404},
		{"POST /v1/workspaces/ROOT/a2a", `{"jsonrpc":"2.0"}`, "A2A-Version: 1.0", 409},
		{"DELETE /v1/workspaces/ROOT", "", "", 409},
		{"GET /v1/workspaces/ws_none", "", "", 404},
		{"GET /v1/workspaces", "", "Authorization: Bearer none", 401},
		{"GET /v1/templates", "", "", 200},
		{"GET /v1/events?after=0&wait=1", "", "", 200},
		{"PUT /v1/secrets/A", `{"value":"x"}`, "", 201},
		{"PUT /v1/secrets/A", `{"value":"y"}`, "", 204},
		{"GET /v1/secrets", "", "", 200},
		{"DELETE /v1/secrets/A", "", "", 204},
		{"PUT /v1/workspaces/ROOT/secrets/A", `{"value":"x"}`, "", 201},
		{"GET /v1/workspaces/ROOT/secrets", "", "", 200},
		{"DELETE /v1/workspaces/ROOT/secrets/A", "", "", 204},
		{"PUT /v1/workspaces/ROOT/files/notes.txt", "text", "If-None-Match: *", 201},
		{"PUT /v1/workspaces/ROOT/files/notes.txt", "other", "", 200},
		{"PUT /v1/workspaces/ROOT/files/notes.txt", "text", "If-None-Match: *", 412},
		{"GET /v1/workspaces/ROOT/files", "", "", 200},
		{"GET /v1/workspaces/ROOT/files/notes.txt", "", "", 200},
		{"GET /v1/workspaces/ROOT/files/notes.txt", "", "If-None-Match: *", 304},
		{"DELETE /v1/workspaces/ROOT/files/notes.txt", "", "", 204},
		{"GET /v1/plugins", "", "", 200},
		{"PUT /v1/workspaces/ROOT/plugins/code-review", "", "", 201},
		{"PUT /v1/workspaces/ROOT/plugins/code-review", `{"digest":"sha256:0"}`, "", 409},
		{"PUT /v1/workspaces/ROOT/plugins/code-review", `{}`, "", 200},
		{"GET /v1/workspaces/ROOT/plugins", "", "", 200},
		{"DELETE /v1/workspaces/ROOT/plugins/code-review", "", "", 204},
		{"POST /v1/workspaces", `{"name":"alive","desired":"running","idle_minutes":5}`, "", 202},
		{"POST /v1/workspaces/ALIVE/a2a", `{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"role":"user","messageId":"m","parts":[{"kind":"text","text":"hello"}]}}}`, "", 200},
		{"GET /v1/workspaces/ALIVE/logs?tail=1&follow=0", "", "", 200},
		{"GET /v1/workspaces/ALIVE/agent", "", "", 200},
		{"GET /v1/workspaces/ALIVE/agent-card", "", "", 200},
		{"POST /v1/workspaces/ALIVE/restart", "", "", 202},
		{"POST /v1/workspaces/ALIVE/hibernate", "", "", 202},
		{"POST /v1/workspaces/ALIVE/start", "", "", 202},
		{"POST /v1/workspaces/ALIVE/pause", "", "", 202},
		{"POST /v1/workspaces/ALIVE/hibernate", "", "", 409},
		{"GET /v1/workspaces/ALIVE/transitions?limit=2", "", "", 200},
		{"PATCH /v1/workspaces/ALIVE", `{"idle_minutes":null}`, "", 200},
		{"DELETE /v1/workspaces/ALIVE?volumes=delete", "", "", 204},
		{"POST /v1/tokens", `{"role":"workspace","workspace":"ROOT","name":"agent","expires_in":60}`, "", 201},
		{"GET /v1/tokens?limit=1", "", "", 200},
		{"GET /v1/tokens/self", "", "", 200},
		{"DELETE /v1/tokens/TOKEN", "", "", 204},
		{"DELETE /v1/workspaces/ROOT?children=cascade", "", "", 204},
	}
	names := []string{"ROOT", "CHILD", "ALIVE", "TOKEN"}
	asked := map[string]bool{}
	for _, c := range calls {
		for name, id := range ids {
			c.request, c.body = strings.ReplaceAll(c.request, name, id), strings.ReplaceAll(c.body, name, id)
		}
		status, body, operation := c.send(t, client, v, url, token)
		if status != c.status {
			t.Errorf("%s %s = %d %s, want %d", c.request, c.body, status, body, c.status)
		}
		asked[operation] = true
		if made := status == http.StatusCreated || status == http.StatusAccepted && strings.HasSuffix(c.request, "/workspaces"); made && strings.HasPrefix(c.request, "POST") {
			ids[names[len(ids)]] = idOf(t, body)
		}
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			if operation := strings.ToUpper(method) + " " + path; !asked[operation] {
				t.Errorf("%s is not asked for here: add a call", operation)
			}
		}
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET %s = %s, %v", url, resp.Status, err)
	}
	return string(text)
}
