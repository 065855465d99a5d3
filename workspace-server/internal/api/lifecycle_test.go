package api

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// settle does what the reconciler does if each step succeeds.
func (a *testAPI) settle(id string) workspace.Workspace {
	a.t.Helper()
	for range 5 {
		claims, err := a.store.Claim(a.t.Context(), "test", time.Minute, 100)
		if err != nil {
			a.t.Fatal(err)
		}
		for _, c := range claims {
			facts := []workspace.Fact{workspace.Ended}
			if c.Status.State == workspace.StateStarting {
				facts = []workspace.Fact{workspace.Provisioned, workspace.Ready}
			}
			for _, f := range facts {
				if err := a.store.Observe(a.t.Context(), c, workspace.Observation{Fact: f, Generation: c.Generation}); err != nil {
					a.t.Fatal(err)
				}
			}
		}
	}
	w, err := a.store.Get(a.t.Context(), id)
	if err != nil {
		a.t.Fatal(err)
	}
	return w
}

func TestLifecycle(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		resp := a.do(http.MethodPost, "/v1/workspaces", `{"name":"w","desired":"running"}`)
		var w workspace.Workspace
		resp.decodeInto(t, &w)
		path := "/v1/workspaces/" + w.ID
		if resp.status != http.StatusAccepted || resp.header.Get("Location") != path || w.Status.State != workspace.StateStarting {
			t.Fatalf("create = %d %s at %q, want 202 and a place to look", resp.status, resp.body, resp.header.Get("Location"))
		}
		for _, step := range []struct {
			action    string
			at, after workspace.State // once asked, and once done
		}{
			{"start", workspace.StateStarting, workspace.StateRunning},
			{"start", workspace.StateRunning, workspace.StateRunning},
			{"hibernate", workspace.StateHibernating, workspace.StateHibernated},
			{"hibernate", workspace.StateHibernated, workspace.StateHibernated},
			{"pause", workspace.StatePausing, workspace.StatePaused},
			{"pause", workspace.StatePaused, workspace.StatePaused},
			{"start", workspace.StateStarting, workspace.StateRunning},
			{"restart", workspace.StateStarting, workspace.StateRunning},
		} {
			resp := a.do(http.MethodPost, path+"/"+step.action, "")
			var asked workspace.Workspace
			resp.decodeInto(t, &asked)
			if resp.status != http.StatusAccepted || asked.Status.State != step.at || resp.header.Get("ETag") != etag(asked) {
				t.Errorf("POST %s = %d %s, want 202 and %s", step.action, resp.status, resp.body, step.at)
			}
			if now := a.settle(w.ID); now.Status.State != step.after {
				t.Errorf("after %s it is %+v, want %s", step.action, now, step.after)
			}
		}

		now := a.settle(w.ID)
		if now.Generation != 3 {
			t.Errorf("after three starts the generation is %d", now.Generation)
		}
		a.do(http.MethodPost, path+"/pause", "", `If-Match: "1"`).wantProblem(t, "a stale pause", http.StatusPreconditionFailed, "revision")
		a.do(http.MethodPost, path+"/pause?force=1", "").wantProblem(t, "pause?force=1", http.StatusBadRequest, "This route has no parameters")
		a.do(http.MethodPost, path+"/pause", "", "If-Match: "+etag(now))
		a.settle(w.ID)
		a.do(http.MethodPost, path+"/hibernate", "").wantProblem(t, "hibernate what is paused", http.StatusConflict, "Possible actions: start.")
		a.do(http.MethodPost, "/v1/workspaces/ws_none/start", "").wantProblem(t, "start of none", http.StatusNotFound, "There is no workspace")
		a.do(http.MethodPost, "/v1/workspaces", `{"name":"w","desired":"paused"}`).wantProblem(t, "create a paused one", http.StatusBadRequest, `The field "desired" must be running`)

		own := "Authorization: Bearer " + string(a.token(token.Spec{Role: token.Workspace, Workspace: w.ID}))
		var all []workspace.Transition
		var part page[workspace.Transition]
		for next := ""; ; next = part.Next {
			part = page[workspace.Transition]{}
			a.do(http.MethodGet, path+"/transitions?limit=4&cursor="+next, "", own).decodeInto(t, &part)
			all = append(all, part.Items...)
			if part.Next == "" {
				break
			}
		}
		var path2 []string
		for _, tr := range all {
			path2 = append([]string{string(tr.To)}, path2...)
			if system := tr.By == workspace.ByServer; !system && !strings.HasPrefix(tr.By, "tok_") {
				t.Errorf("%+v does not say by whom", tr)
			}
		}
		const want = "starting running hibernating hibernated pausing paused starting running starting running pausing paused"
		if got := strings.Join(path2, " "); got != want {
			t.Errorf("the transitions lead through %s, want %s", got, want)
		}
		other := a.create("other")
		first := page[workspace.Transition]{}
		a.do(http.MethodGet, path+"/transitions?limit=1", "").decodeInto(t, &first)
		a.do(http.MethodGet, "/v1/workspaces/"+other.ID+"/transitions?cursor="+first.Next, "").
			wantProblem(t, "another's cursor", http.StatusBadRequest, "another workspace's list")

		for query, detail := range map[string]string{"volumes=maybe": `"volumes" must be`, "volume=keep": `"volume" is unknown`} {
			a.do(http.MethodDelete, path+"?"+query, "").wantProblem(t, "DELETE ?"+query, http.StatusBadRequest, detail)
		}
		if got := a.do(http.MethodDelete, path+"?volumes=keep", ""); got.status != http.StatusNoContent {
			t.Errorf("DELETE = %d %s", got.status, got.body)
		}
		if gone, err := a.store.ClaimRemovals(t.Context(), "test", time.Minute, 9); err != nil || len(gone) != 1 || !gone[0].KeepData {
			t.Errorf("ClaimRemovals() = %+v, %v, want the workspace, with its data kept", gone, err)
		}
	})
}

// A server without a provisioner must refuse requests that it cannot carry out.
func TestRunsNothing(t *testing.T) {
	a := &api{}
	for call, err := range map[string]error{
		"start": a.ask(workspace.Start)(nil, request(t, "POST", "/v1/workspaces/ws_a/start")),
	} {
		if workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), "PROVISIONER") {
			t.Errorf("%s without a provisioner = %v, want Conflict that names the setting", call, err)
		}
	}
}

func request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetPathValue("id", "ws_a")
	return r
}

func TestLogs(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("w")
		path := "/v1/workspaces/" + w.ID + "/logs"
		a.do(http.MethodGet, path, "").wantProblem(t, "logs of what never ran", http.StatusNotFound, "printed nothing")
		var text strings.Builder
		for i := range 150 {
			fmt.Fprintf(&text, "line %d\n", i)
		}
		a.logs.text = text.String()
		for query, want := range map[string]int{"": 150, "?tail=3": 3, "?tail=0": 0, "?tail=1000&follow=0": 150} {
			got := a.do(http.MethodGet, path+query, "")
			if n := strings.Count(got.body, "\n"); got.status != 200 || n != want || !strings.HasSuffix("x\n"+text.String(), got.body) ||
				got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("logs%s = %d with %d lines of type %s, want %d", query, got.status, n, got.header.Get("Content-Type"), want)
			}
		}
		for query, detail := range map[string]string{"tail=-1": "from 0 to", "follow=maybe": "0 or 1", "since=1": "is unknown"} {
			a.do(http.MethodGet, path+"?"+query, "").wantProblem(t, "logs?"+query, http.StatusBadRequest, detail)
		}

		more, write := io.Pipe()
		a.logs.follow = more
		t.Cleanup(func() { _ = write.Close() })
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+path+"?tail=1&follow=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+string(a.secret))
		resp, err := a.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		wantLine := func(want string) {
			t.Helper()
			if !lines.Scan() || lines.Text() != want {
				t.Errorf("followed %q, %v, want %q", lines.Text(), lines.Err(), want)
			}
		}
		wantLine("line 149")
		if _, err := io.WriteString(write, "later\n"); err != nil {
			t.Fatal(err)
		}
		wantLine("later")
		a.stop()
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("the logs end with %q, %v, want a clean end when the server stops", lines.Text(), lines.Err())
		}
	})
}
