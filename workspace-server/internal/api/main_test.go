package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/a2a"
	"workspace-server/internal/catalog"
	"workspace-server/internal/events"
	"workspace-server/internal/files"
	"workspace-server/internal/secret"
	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/testkit"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// testAPI is the API of one server on a database.
type testAPI struct {
	t         *testing.T
	url       string
	client    *http.Client
	db        *store.DB
	store     *store.Store
	vault     *secret.Vault
	files     files.Dir
	templates string
	logs      *printed
	plugins   string
	log       *testkit.Buffer
	secret    token.Secret // an administrator's
	stop      func()       // ends streams and long polls
}

func newAPI(t *testing.T, db *store.DB) *testAPI {
	t.Helper()
	a := &testAPI{t: t, db: db, templates: t.TempDir(), plugins: t.TempDir(), files: files.New(t.TempDir()), logs: &printed{}, log: &testkit.Buffer{}}
	log := slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	feed := events.NewFeed(log)
	a.store = store.New(db, feed.Wake)
	a.vault = secret.NewVault(t.TempDir(), a.store)
	if _, err := a.vault.Init(); err != nil {
		t.Fatal(err)
	}

	stopping, stop := contextWithCancel(t)
	a.stop = stop
	polling, stopPolling := contextWithCancel(t)
	var wg sync.WaitGroup
	wg.Go(func() { feed.Run(polling, a.store.LastEvent) })
	wg.Go(func() { db.Listen(polling, log, feed.Hint) })

	srv := httptest.NewServer(New(Deps{
		Workspaces:  a.store,
		Events:      a.store,
		Feed:        feed,
		Tail:        events.NewTail(a.store),
		Templates:   catalog.NewTemplates(a.templates),
		Tokens:      a.store,
		Secrets:     a.vault,
		Instances:   a.logs,
		Files:       a.files,
		Agents:      a.store,
		Messages:    a2a.New(a2a.Options{Stopping: stopping}),
		Database:    db,
		Log:         log,
		Build:       func() string { return "test" },
		Started:     time.Unix(1_700_000_000, 0),
		Stopping:    stopping,
		Retry:       20 * time.Millisecond,
		Heartbeat:   heartbeat,
		Plugins:     catalog.NewPlugins(a.plugins),
		Attachments: a.store,
	}))
	a.url, a.client = srv.URL, srv.Client()
	a.secret = a.token(token.Spec{Role: token.Admin})
	t.Cleanup(func() {
		stop()
		srv.Close()
		stopPolling()
		wg.Wait()
	})
	return a
}

// printed is the output of instances, without instances.
type printed struct {
	text   string
	follow io.Reader // after the text
}

// Logs implements Instances.
func (p *printed) Logs(ctx context.Context, id string, tail int, follow bool) (io.ReadCloser, error) {
	if p.text == "" {
		return nil, workspace.Errorf(workspace.NotFound, "Workspace %q has printed nothing yet.", id)
	}
	lines := strings.SplitAfter(p.text, "\n")
	if tail >= 0 {
		lines = lines[max(0, len(lines)-1-tail):]
	}
	text := strings.NewReader(strings.Join(lines, ""))
	if !follow {
		return io.NopCloser(text), nil
	}
	more, write := io.Pipe()
	context.AfterFunc(ctx, func() { _ = write.CloseWithError(ctx.Err()) })
	go func() { _, _ = io.Copy(write, p.follow) }()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(text, more), more}, nil
}

// token makes a token.
func (a *testAPI) token(spec token.Spec) token.Secret {
	a.t.Helper()
	secret := token.NewSecret()
	made, err := token.New(spec, secret, time.Now())
	if err == nil {
		err = a.store.CreateToken(a.t.Context(), made, secret.Hash())
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return secret
}

// answer is the answer to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request with headers of the form "Name: value". It sends an administrator's
// token unless they say otherwise.
func (a *testAPI) do(method, path, body string, headers ...string) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+string(a.secret))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// decodeInto reads an answer as JSON, strictly.
func (r answer) decodeInto(t *testing.T, into any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(r.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
}

// wantProblem checks that an answer is a problem document.
func (r answer) wantProblem(t *testing.T, call string, status int, detail string) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Kind string
		Status                    int
		RequestID                 string `json:"request_id"`
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s = %d %s of type %s, want a problem document", call, r.status, r.body, got)
		return
	}
	r.decodeInto(t, &p)
	if r.status != status || p.Status != status || p.Title != http.StatusText(status) || !strings.Contains(p.Detail, detail) {
		t.Errorf("%s = %d %s, want %d with %q", call, r.status, r.body, status, detail)
	}
	if p.RequestID == "" || p.RequestID != r.header.Get("X-Request-Id") {
		t.Errorf("%s: request_id %q, header %q, want the same", call, p.RequestID, r.header.Get("X-Request-Id"))
	}
}

func (a *testAPI) create(name string) workspace.Workspace {
	a.t.Helper()
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		a.t.Fatal(err)
	}
	resp := a.do(http.MethodPost, "/v1/workspaces", string(body))
	if resp.status != http.StatusCreated {
		a.t.Fatalf("create %q = %d %s", name, resp.status, resp.body)
	}
	var w workspace.Workspace
	resp.decodeInto(a.t, &w)
	return w
}

func (a *testAPI) writeTemplate(name, text string) {
	a.t.Helper()
	dir := filepath.Join(a.templates, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// each runs fn on each database at once, with a fresh API. It calls t.Parallel.
func each(t *testing.T, fn func(t *testing.T, a *testAPI)) {
	t.Helper()
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		fn(t, newAPI(t, database.Migrated(t)))
	})
}
