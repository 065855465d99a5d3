package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"workspace-server/internal/events"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// started creates and starts a workspace, and returns the header of its token.
func (a *testAPI) started(name string) (w workspace.Workspace, own string) {
	a.t.Helper()
	resp := a.do(http.MethodPost, "/v1/workspaces", fmt.Sprintf(`{"name":%q,"desired":"running"}`, name))
	if resp.status != http.StatusAccepted {
		a.t.Fatalf("create %q = %d %s", name, resp.status, resp.body)
	}
	resp.decodeInto(a.t, &w)
	return w, "Authorization: Bearer " + string(a.token(token.Spec{Role: token.Workspace, Workspace: w.ID}))
}

func TestAgents(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w, own := a.started("w")
		path := "/v1/workspaces/" + w.ID
		const card = `{"name":"echo","url":"http://a.example","skills":[{"id":"<x>"}]}`
		a.do(http.MethodGet, path+"/agent", "", own).wantProblem(t, "the agent of a workspace without one", http.StatusNotFound, "No agent has registered")
		a.do(http.MethodGet, path+"/agent-card", "", own).wantProblem(t, "the card of a workspace without an agent", http.StatusNotFound, "No agent has registered")
		for body, detail := range map[string]string{
			`{"card":{"name":"a"}}`:                                  `generation\" is required`,
			`{"generation":1}`:                                       `card\" is required`,
			`{"generation":1,"card":null}`:                           "The card must be a JSON object",
			`{"generation":1,"card":{"name":"a"},"url":"x"}`:         `The URL \"x\" must begin with`,
			`{"generation":1,"card":{"name":"a"},"state":"running"}`: `"state\" is unknown`,
			`{"generation":"1","card":{"name":"a"}}`:                 "must not be a JSON string",
		} {
			if got := a.do(http.MethodPost, path+"/register", body, own); got.status != http.StatusBadRequest || !strings.Contains(got.body, detail) {
				t.Errorf("register %s = %d %s, want 400 with %q", body, got.status, got.body, detail)
			}
		}
		for body, detail := range map[string]string{
			`{}`:                                 `generation\" is required`,
			`{"generation":1,"error_rate":2}`:    "error_rate",
			`{"generation":1,"uptime":1}`:        "is unknown",
			`{"generation":1,"active_tasks":.5}`: "not JSON",
		} {
			if got := a.do(http.MethodPost, path+"/heartbeat", body, own); got.status != http.StatusBadRequest || !strings.Contains(got.body, detail) {
				t.Errorf("heartbeat %s = %d %s, want 400 with %q", body, got.status, got.body, detail)
			}
		}
		a.do(http.MethodPost, path+"/heartbeat", `{"generation":1}`, own).wantProblem(t, "a heartbeat before registering", http.StatusConflict, "Register first")
		got := a.do(http.MethodPost, path+"/register", `{"generation":1,"card":`+card+`}`, own)
		if got.status != http.StatusOK || got.body != `{"lease_seconds":30,"heartbeat_seconds":10}`+"\n" {
			t.Errorf("register = %d %s, want a lease", got.status, got.body)
		}
		const beat = `{"generation":1,"active_tasks":1,"current_task":"thinking","error_rate":0.5,"uptime_seconds":12,"last_active":1}`
		if got := a.do(http.MethodPost, path+"/heartbeat", beat, own); got.status != http.StatusNoContent || got.body != "" {
			t.Errorf("heartbeat = %d %s, want 204", got.status, got.body)
		}
		var agent workspace.Agent
		a.do(http.MethodGet, path+"/agent", "", own).decodeInto(t, &agent)
		if agent.Generation != 1 || agent.ActiveTasks != 1 || agent.CurrentTask != "thinking" || agent.ErrorRate != 0.5 || agent.Uptime != 12 ||
			agent.LeaseUntil < agent.Registered+workspace.AgentLease.Milliseconds() {
			t.Errorf("GET agent = %+v, want what it said", agent)
		}
		// As large as a card may be.
		large := `{"name":"a","x":"` + strings.Repeat("x", workspace.MaxCard-len(`{"name":"a","x":""}`)) + `"}`
		if got := a.do(http.MethodPost, path+"/register", `{"generation":1,"url":"","card":`+large+`}`, own); got.status != http.StatusOK {
			t.Errorf("register a large card = %d %s", got.status, got.body)
		}
		if got := a.do(http.MethodGet, path+"/agent-card", "", own); got.status != http.StatusOK || got.body != large+"\n" {
			t.Errorf("GET agent-card = %d with %d bytes, want the %d of the card", got.status, len(got.body), len(large)+1)
		}

		// Only a peer reads the card.
		peer, peersOwn := a.started("peer")
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":`+card+`}`, own)
		if got := a.do(http.MethodGet, "/v1/workspaces/"+peer.ID+"/peers/"+w.ID+"/agent-card", "", peersOwn); got.status != http.StatusOK || !strings.HasPrefix(got.body, `{"name":"echo"`) {
			t.Errorf("a peer's card = %d %s", got.status, got.body)
		}
		a.do(http.MethodGet, path+"/peers/"+peer.ID+"/agent-card", "", own).wantProblem(t, "the card of a peer that has none", http.StatusNotFound, "No agent has registered")
		if got := a.do(http.MethodPatch, "/v1/workspaces/"+peer.ID, `{"parent":"`+a.create("other root").ID+`"}`, "Content-Type: "+mergePatch); got.status != 200 {
			t.Fatal(got.body)
		}
		for _, other := range []string{w.ID, "ws_none", "%00"} {
			a.do(http.MethodGet, "/v1/workspaces/"+peer.ID+"/peers/"+other+"/agent-card", "", peersOwn).
				wantProblem(t, "the card of "+other, http.StatusNotFound, "has no peer")
		}

		// An agent that is no longer wanted gets an error, and changes nothing.
		a.do(http.MethodPost, path+"/pause", "")
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":`+card+`}`, own).wantProblem(t, "a late register", http.StatusConflict, "no longer wants")
		a.do(http.MethodPost, path+"/heartbeat", `{"generation":1}`, own).wantProblem(t, "a late heartbeat", http.StatusConflict, "no longer wants")
		if now := a.settle(w.ID); now.Status.State != workspace.StatePaused {
			t.Errorf("after a late register the workspace is %+v, want it paused", now)
		}
		a.do(http.MethodDelete, path, "")
		var all eventPage
		a.do(http.MethodGet, "/v1/events", "").decodeInto(t, &all)
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":`+card+`}`, own).wantProblem(t, "a register of what is gone", http.StatusGone, "was removed")
		a.do(http.MethodPost, path+"/heartbeat", `{"generation":1}`, own).wantProblem(t, "a heartbeat of what is gone", http.StatusGone, "was removed")
		if last, err := a.store.LastEvent(t.Context()); err != nil || last != all.Last {
			t.Errorf("after late calls the last event is %d, %v, want %d", last, err, all.Last)
		}
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":`+card+`}`).wantProblem(t, "an admin's register of what is gone", http.StatusNotFound, "There is no workspace")
	})
}

// provisioned does what the reconciler does for a starting workspace. If a claim misses
// the workspace because of a concurrent request, the next one gets it.
func (a *testAPI) provisioned(id, address string) {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		claims, err := a.store.Claim(a.t.Context(), "test", time.Minute, 100)
		if err != nil {
			a.t.Fatal(err)
		}
		for _, c := range claims {
			if c.ID != id {
				continue
			}
			err := a.store.Observe(a.t.Context(), c, workspace.Observation{Fact: workspace.Provisioned, Generation: c.Generation, Address: address})
			if err != nil {
				a.t.Fatal(err)
			}
			return
		}
	}
	a.t.Fatal("the workspace is not due")
}

// echoAgent is an agent that returns each message.
func echoAgent(t *testing.T) (address string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("A2A-Seen", r.Header.Get("A2A-Version")+" "+r.Header.Get("X-Request-Id")+" "+r.Header.Get("Authorization"))
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), calls
}

func TestMessages(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		address, calls := echoAgent(t)
		w, own := a.started("w")
		path := "/v1/workspaces/" + w.ID
		a.provisioned(w.ID, address)
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":{"name":"a"}}`, own)

		message := "{\"jsonrpc\": \"2.0\"}\x00\xff"
		send := func(credential string) answer {
			return a.do(http.MethodPost, path+"/a2a", message, credential, "A2A-Version: 1.0", "X-Request-Id: the-id")
		}
		peer, peersOwn := a.started("peer")
		admin := "Authorization: Bearer " + string(a.secret)
		for name, credential := range map[string]string{"admin": admin, "own": own, "peer": peersOwn} {
			got := send(credential)
			if got.status != http.StatusOK || got.body != message || got.header.Get("A2A-Seen") != "1.0 the-id" || got.header.Get("X-Request-Id") != "the-id" {
				t.Errorf("a message with the token of %s = %d %q, seen %q, want it back", name, got.status, got.body, got.header.Get("A2A-Seen"))
			}
		}
		if got := calls.Load(); got != 3 {
			t.Errorf("the agent got %d messages of 3", got)
		}
		var agent workspace.Agent
		a.do(http.MethodGet, path+"/agent", "").decodeInto(t, &agent)
		if agent.Active < agent.Registered {
			t.Errorf("a message is no activity: %+v", agent)
		}

		// A workspace that is no peer gets an error that does not tell which exist.
		a.do(http.MethodPatch, "/v1/workspaces/"+peer.ID, `{"parent":"`+a.create("root").ID+`"}`, "Content-Type: "+mergePatch)
		send(peersOwn).wantProblem(t, "a message of no peer", http.StatusForbidden, "has no peer")
		for _, id := range []string{"ws_none", "%00"} {
			a.do(http.MethodPost, "/v1/workspaces/"+id+"/a2a", message, peersOwn).wantProblem(t, "a message to "+id, http.StatusForbidden, "has no peer")
		}
		a.do(http.MethodPost, "/v1/workspaces/ws_none/a2a", message).wantProblem(t, "an admin's message to ws_none", http.StatusNotFound, "There is no workspace")
		a.do(http.MethodPost, path+"/a2a?x=1", message).wantProblem(t, "a message with a parameter", http.StatusBadRequest, "is unknown")
		a.do(http.MethodPost, path+"/a2a", strings.Repeat("x", 10<<20+1)).wantProblem(t, "a large message", http.StatusRequestEntityTooLarge, "larger than 10240 KiB")
		if got := a.do(http.MethodPost, path+"/a2a", strings.Repeat("x", 10<<20)); got.status != http.StatusOK || len(got.body) != 10<<20 {
			t.Errorf("a message of 10 MiB = %d with %d bytes", got.status, len(got.body))
		}
		if got := calls.Load(); got != 4 {
			t.Errorf("the agent got %d messages, want none but the 4 that were to come", got)
		}

		// A URL is not dialled if it is not public.
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":{"name":"a"},"url":"http://`+address+`/"}`, own)
		send(admin).wantProblem(t, "a message to a URL on this machine", http.StatusBadGateway, "AGENT_NETWORKS")
		a.do(http.MethodPost, path+"/register", `{"generation":1,"card":{"name":"a"}}`, own)
		if got := send(admin); got.status != http.StatusOK || calls.Load() != 5 {
			t.Errorf("a message after another register = %d %s", got.status, got.body)
		}

		for _, step := range []struct{ action, state string }{{"pause", "pausing"}, {"", "paused"}} {
			if step.action != "" {
				a.do(http.MethodPost, path+"/"+step.action, "")
			} else {
				a.settle(w.ID)
			}
			send(own).wantProblem(t, "a message to what is "+step.state, http.StatusConflict, "is "+step.state+", so it gets no messages. Start it")
		}
		stopped := a.create("stopped")
		a.do(http.MethodPost, "/v1/workspaces/"+stopped.ID+"/a2a", message).wantProblem(t, "a message to what never ran", http.StatusConflict, "Start it")
	})
}

// A message to an agent that is gone gets an error that says so.
func TestMessageToAgentThatIsGone(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		const address = "127.0.0.1:1" // a port that no program gets by chance
		w, own := a.started("w")
		a.provisioned(w.ID, address)
		a.do(http.MethodPost, "/v1/workspaces/"+w.ID+"/register", `{"generation":1,"card":{"name":"a"}}`, own)
		got := a.do(http.MethodPost, "/v1/workspaces/"+w.ID+"/a2a", "{}")
		got.wantProblem(t, "a message to an agent that is gone", http.StatusServiceUnavailable, "It got nothing")
		if got.header.Get("Retry-After") == "" || strings.Contains(got.body, address) {
			t.Errorf("a message to an agent that is gone = %v %s, want Retry-After, and no address", got.header, got.body)
		}
	})
}

// Messages wake a workspace once, wait for its agent, and are all delivered.
func TestMessagesWake(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		address, calls := echoAgent(t)
		w, own := a.started("w")
		path := "/v1/workspaces/" + w.ID
		a.settle(w.ID)
		a.do(http.MethodPost, path+"/hibernate", "")
		if now := a.settle(w.ID); now.Status.State != workspace.StateHibernated {
			t.Fatalf("the workspace is %+v, want it hibernated", now)
		}
		const messages = 3
		var wg sync.WaitGroup
		for range messages {
			wg.Go(func() {
				if got := a.do(http.MethodPost, path+"/a2a", "{}", own); got.status != http.StatusOK || got.body != "{}" {
					t.Errorf("a message to what was hibernated = %d %s", got.status, got.body)
				}
			})
		}
		a.await(w.ID, workspace.StateStarting)
		// The agent is faster than the server that started it.
		if got := a.do(http.MethodPost, path+"/register", `{"generation":2,"card":{"name":"a"}}`, own); got.status != http.StatusOK {
			t.Errorf("register = %d %s", got.status, got.body)
		}
		a.provisioned(w.ID, address)
		wg.Wait()
		now := a.await(w.ID, workspace.StateRunning)
		if calls.Load() != messages || now.Generation != 2 {
			t.Errorf("%d messages woke the workspace to %+v, and its agent got %d", messages, now, calls.Load())
		}
		log, err := a.store.Transitions(t.Context(), w.ID, 0, 100)
		if err != nil || len(log) < 2 || log[1].Reason != string(workspace.Wake) || !strings.HasPrefix(log[1].By, "tok_") {
			t.Errorf("Transitions() = %+v, %v, want that a token woke it", log, err)
		}

		// A server that stops does not wait.
		a.do(http.MethodPost, path+"/restart", "")
		wg.Go(func() {
			got := a.do(http.MethodPost, path+"/a2a", "{}", own)
			got.wantProblem(t, "a message to a server that stops", http.StatusServiceUnavailable, "The server is stopping")
		})
		a.stop()
		wg.Wait()
	})
}

// await waits until a workspace is in a state.
func (a *testAPI) await(id string, state workspace.State) workspace.Workspace {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		w, err := a.store.Get(a.t.Context(), id)
		if err != nil {
			a.t.Fatal(err)
		}
		if w.Status.State == state {
			return w
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("the workspace is %+v, want it %s", w, state)
		}
	}
}

// starting is a registry of a workspace that never becomes ready.
type starting struct{ workspace.Registry }

func (starting) Reach(context.Context, string) (workspace.Work, string, error) {
	return workspace.Work{Workspace: workspace.Workspace{Status: workspace.Status{State: workspace.StateStarting}}}, "", nil
}

// A message waits until its sender gives up, for at most a minute.
func TestMessagesDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{Deps: Deps{Agents: starting{}, Feed: events.NewFeed(slog.New(slog.DiscardHandler)), Stopping: t.Context()}}
		start := time.Now()
		_, err := a.awake(t.Context(), "ws_a", "tok_a")
		if took := time.Since(start); took != wakeTimeout || workspace.KindOf(err) != workspace.Unavailable || !strings.Contains(workspace.Message(err), "is starting") {
			t.Errorf("awake() = %v after %v, want Unavailable after %v", err, took, wakeTimeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		_, err = a.awake(ctx, "ws_a", "tok_a")
		if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("awake() of a sender that goes = %v after %v, want it to end with the sender", err, took)
		}
	})
}
