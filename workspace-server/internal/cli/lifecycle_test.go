package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"workspace-server/internal/workspace"
)

// contract is a server of one workspace that can start and stop. At each look the
// workspace enters the next state.
type contract struct {
	mu     sync.Mutex
	w      workspace.Workspace
	states []workspace.State // to come
	clock  int64
	asked  []string
}

func newContract(t *testing.T, state workspace.State) (*contract, string) {
	t.Helper()
	c := &contract{clock: 1000, w: workspace.Workspace{ID: "ws_abc", Name: "one", Labels: workspace.Labels{}, Revision: 1}}
	c.enter(state)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/workspaces/{id}", c.get)
	mux.HandleFunc("POST /v1/workspaces", c.create)
	mux.HandleFunc("DELETE /v1/workspaces/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("POST /v1/workspaces/{id}/{action}", c.act)
	mux.HandleFunc("GET /v1/workspaces/{id}/transitions", c.transitions)
	mux.HandleFunc("GET /v1/workspaces/{id}/logs", c.logs)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked = append(c.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+r.Header.Get("If-Match")+" "+string(body)))
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return c, server.URL
}

func (c *contract) enter(state workspace.State) {
	c.clock++
	c.w.Status = workspace.Status{State: state, Reason: "test", Message: "It is " + string(state) + ".", Since: c.clock}
	c.w.Revision++
}

func (c *contract) write(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(c.w)
}

func (c *contract) get(w http.ResponseWriter, _ *http.Request) {
	if len(c.states) > 0 {
		c.enter(c.states[0])
		c.states = c.states[1:]
	}
	c.write(w, 200)
}

func (c *contract) create(w http.ResponseWriter, _ *http.Request) {
	c.enter("stopped")
	c.write(w, 202)
}

// act records the desired state; the state follows later.
func (c *contract) act(w http.ResponseWriter, r *http.Request) {
	legal := map[string]string{"start": "stopped paused hibernated failed", "pause": "running", "hibernate": "running", "restart": "running"}
	action, state := r.PathValue("action"), string(c.w.Status.State)
	if !strings.Contains(legal[action], state) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(409)
		fmt.Fprintf(w, `{"detail":"A workspace that is %s cannot %s. It can: start.","kind":"conflict","request_id":"r"}`, state, action)
		return
	}
	switch action {
	case "start":
		c.w.Desired = "running"
	case "pause":
		c.w.Desired = "paused"
	}
	c.write(w, 202)
}

func (c *contract) transitions(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("cursor") == "" {
		fmt.Fprint(w, `{"items":[{"revision":3,"at":1000,"from":"starting","to":"running","reason":"started","message":"It runs.","by":""}],"next":"c"}`)
		return
	}
	fmt.Fprint(w, `{"items":[{"revision":2,"at":900,"from":"stopped","to":"starting","reason":"start","message":"It was asked for.","by":"tok_a"}],"next":""}`)
}

func (c *contract) logs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "tail %q follow %q\n", r.URL.Query().Get("tail"), r.URL.Query().Get("follow"))
}

// lines returns the lines that a command prints, joined.
func lines(text string) string {
	return strings.Join(strings.Split(strings.TrimSpace(text), "\n"), "; ")
}

func TestLifecycle(t *testing.T) {
	tests := []struct {
		args  string
		from  workspace.State
		then  []workspace.State // after the first look
		code  int
		said  string
		fails string
	}{
		{"start ws_abc", "stopped", nil, 0, "one is stopped", ""},
		{"start --wait ws_abc", "stopped", []workspace.State{"starting", "starting", "running"}, 0, "one is stopped; one is starting; one is running", ""},
		{"start --wait ws_abc", "failed", []workspace.State{"starting", "running"}, 0, "one is failed; one is starting; one is running", ""},
		{"start --wait ws_abc", "stopped", []workspace.State{"starting", "failed"}, codeFailed, "one is stopped; one is starting; one is failed", "one failed: It is failed."},
		{"start ws_abc --wait --timeout 2s", "stopped", []workspace.State{"starting"}, codeFailed, "one is stopped; one is starting", "one is not running after 2s: wait longer with --timeout"},
		{"pause --wait ws_abc", "running", []workspace.State{"pausing", "paused"}, 0, "one is running; one is pausing; one is paused", ""},
		{"pause ws_abc", "stopped", nil, codeConflict, "", "A workspace that is stopped cannot pause. It can: start."},
		{"hibernate ws_abc --wait", "running", []workspace.State{"hibernating", "hibernated"}, 0, "one is running; one is hibernating; one is hibernated", ""},
		{"restart --wait ws_abc", "running", []workspace.State{"starting", "running"}, 0, "one is running; one is starting; one is running", ""},
		{"create one --start --wait", "stopped", []workspace.State{"starting", "running"}, 0, "one is stopped; one is starting; one is running", ""},
		{"create one --wait", "stopped", nil, codeUsage, "", "create: --wait needs --start: 'workspace-server ws create -h' shows its usage"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel() // most of the time goes to the pauses between two looks
			c, url := newContract(t, tt.from)
			if !strings.HasPrefix(tt.args, "create") { // the look-up of the workspace
				c.states = []workspace.State{tt.from}
			}
			c.states = append(c.states, tt.then...)
			got := run(t.Context(), url, strings.Fields(tt.args)...)
			if got.code != tt.code || lines(got.err) != tt.said || got.fails != tt.fails {
				t.Errorf("%s of a workspace that is %s = %+v\nwant code %d, %q, %q", tt.args, tt.from, got, tt.code, tt.said, tt.fails)
			}
		})
	}
}

// TestLifecycleCalls checks the requests of commands, and their output for programs.
func TestLifecycleCalls(t *testing.T) {
	tests := []struct {
		args, asked, out string
	}{
		{"start ws_abc --json --revision 3", `POST /v1/workspaces/ws_abc/start "3"`, `^{"id":"ws_abc",.*}\n$`},
		{"create n --start", `POST /v1/workspaces  {"name":"n","desired":"running"}`, `^ws_abc\n$`},
		{"create n --start --json", `POST /v1/workspaces  {"name":"n","desired":"running"}`, `^{"id":"ws_abc",.*}\n$`},
		{"delete ws_abc --volumes delete --children orphan", `DELETE /v1/workspaces/ws_abc?children=orphan&volumes=delete`, `^$`},
		{"logs ws_abc", `GET /v1/workspaces/ws_abc/logs`, `^tail "" follow ""\n$`},
		{"logs -f --tail 5 ws_abc", `GET /v1/workspaces/ws_abc/logs?follow=1&tail=5`, `^tail "5" follow "1"\n$`},
		{
			"transitions ws_abc", `GET /v1/workspaces/ws_abc/transitions?cursor=c&limit=200`,
			`^AT +FROM +TO +REASON +BY +REVISION +MESSAGE\n.* starting +running +started +- +3 +It runs\.\n.* stopped +starting +start +tok_a +2 +It was asked for\.\n$`,
		},
		{"transitions ws_abc --limit 1", `GET /v1/workspaces/ws_abc/transitions?limit=1`, `running +started.*\n$`},
		{"transitions ws_abc --json", `GET /v1/workspaces/ws_abc/transitions?cursor=c&limit=200`, `^{"items":\[{"revision":3,.*},{"revision":2,.*}\],"next":""}\n$`},
	}
	for _, tt := range tests {
		c, url := newContract(t, "stopped")
		got := run(t.Context(), url, strings.Fields(tt.args)...)
		if asked := c.asked[len(c.asked)-1]; got.code != 0 || asked != tt.asked || !regexp.MustCompile(tt.out).MatchString(got.out) {
			t.Errorf("%s asks for %q and prints %+v\nwant %q, and %s", tt.args, asked, got, tt.asked, tt.out)
		}
	}
}

// An interrupt ends following without an error, and waiting with one.
func TestInterrupt(t *testing.T) {
	begun := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/logs") && r.URL.Path != "/v1/events" {
			fmt.Fprint(w, `{"id":"ws_abc","name":"one","status":{"state":"starting"}}`)
			if r.Method == http.MethodPost {
				begun <- struct{}{}
			}
			return
		}
		fmt.Fprint(w, ": begun\n")
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	for args, want := range map[string]string{
		"logs -f ws_abc":      "",
		"events -f":           "",
		"logs ws_abc":         "the command was interrupted",
		"start --wait ws_abc": "the command was interrupted",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		if got := run(ctx, server.URL, strings.Fields(args)...); got.fails != want {
			t.Errorf("%s that is interrupted = %+v, want error %q", args, got, want)
		}
		cancel()
	}
}
