package api

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"workspace-server/internal/catalog"
	"workspace-server/internal/workspace"
)

func (a *testAPI) writePlugin(name, extra string) {
	a.t.Helper()
	text := fmt.Sprintf("name: %s\nversion: 1.0.0\ndescription: A plugin.\n%s", name, extra)
	dir := filepath.Join(a.plugins, name)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(text), 0o644)); err != nil {
		a.t.Fatal(err)
	}
}

func TestPlugins(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.writePlugin("review", "tags: [a]\n")
		a.writePlugin("broken", "tgas: [a]\n")
		var all struct{ Items []catalog.Plugin }
		a.do(http.MethodGet, "/v1/plugins", "").decodeInto(t, &all)
		if len(all.Items) != 2 || len(all.Items[0].Errors) != 1 || all.Items[0].Errors[0] != `line 4: unknown key "tgas"` || len(all.Items[1].Errors) != 0 {
			t.Fatalf("GET /v1/plugins = %+v, want one with an error and one without", all)
		}
		digest := all.Items[1].Digest

		w := a.create("w")
		base := "/v1/workspaces/" + w.ID + "/plugins"
		list := func() (items []attached) {
			var got struct{ Items []attached }
			a.do(http.MethodGet, base, "").decodeInto(t, &got)
			return got.Items
		}
		put := func(name, body string, headers ...string) answer {
			return a.do(http.MethodPut, base+"/"+name, body, headers...)
		}
		if got := list(); len(got) != 0 {
			t.Errorf("GET %s = %+v, want nothing", base, got)
		}
		for i, body := range []string{"", `{}`, `{"digest":"` + digest + `"}`} {
			var got attached
			resp := put("review", body)
			resp.decodeInto(t, &got)
			if want := []int{201, 200, 200}[i]; resp.status != want || got.Digest != digest || got.Name != "review" || !got.Current {
				t.Errorf("PUT %s = %d %s, want %d with the digest", body, resp.status, resp.body, want)
			}
		}
		put("review", `{"digest":"sha256:00"}`).wantProblem(t, "PUT of another digest", http.StatusConflict, "Read it again")
		put("review", `{"digets":""}`).wantProblem(t, "PUT of a typo", http.StatusBadRequest, `"digets" is unknown`)
		put("review", "", `If-Match: "9"`).wantProblem(t, "PUT of another revision", http.StatusPreconditionFailed, "at revision 2")
		put("broken", "").wantProblem(t, "PUT of a broken one", http.StatusBadRequest, `unknown key "tgas"`)
		for _, name := range []string{"none", "..", "%2e%2e", "a%2fb", "Review", "x%00"} {
			for _, method := range []string{http.MethodPut, http.MethodDelete} {
				if got := a.do(method, base+"/"+name, ""); got.status != http.StatusNotFound {
					t.Errorf("%s %s = %d %s, want 404", method, name, got.status, got.body)
				}
			}
		}
		var now workspace.Workspace
		a.do(http.MethodGet, "/v1/workspaces/"+w.ID, "").decodeInto(t, &now)
		if now.Revision != 2 {
			t.Errorf("the workspace is at revision %d, want 2: one plugin was attached once", now.Revision)
		}

		// An edit of the plugin is seen, and pinned anew only when it is asked for.
		a.writePlugin("review", "tags: [b]\n")
		if got := list(); len(got) != 1 || got[0].Current || got[0].Digest != digest {
			t.Errorf("GET after an edit = %+v, want the old digest, which is not current", got)
		}
		if got := put("review", ""); got.status != 200 || strings.Contains(got.body, digest) {
			t.Errorf("PUT after an edit = %d %s, want another digest", got.status, got.body)
		}
		if got := list(); len(got) != 1 || !got[0].Current || got[0].Digest == digest {
			t.Errorf("GET after it was attached again = %+v, want it to be current", got)
		}
		for _, broken := range []func(){
			func() { a.writePlugin("review", "x: y\n") },
			func() { _ = os.RemoveAll(filepath.Join(a.plugins, "review")) },
		} {
			broken()
			if got := list(); len(got) != 1 || got[0].Current {
				t.Errorf("GET of a plugin that cannot be used = %+v, want it not to be current", got)
			}
		}
		if got := a.do(http.MethodDelete, base+"/review", ""); got.status != http.StatusNoContent {
			t.Errorf("DELETE = %d %s, want 204", got.status, got.body)
		}
		a.do(http.MethodDelete, base+"/review", "").wantProblem(t, "DELETE again", http.StatusNotFound, "has no plugin")
		var events eventPage
		a.do(http.MethodGet, "/v1/events", "").decodeInto(t, &events)
		if len(events.Items) != 4 || events.Items[3].Type != workspace.EventUpdated || !strings.Contains(string(events.Items[3].Data), `"revision":4`) {
			t.Errorf("GET /v1/events = %+v, want a creation and three changes", events)
		}
		a.do(http.MethodGet, "/v1/workspaces/ws_none/plugins", "").wantProblem(t, "GET of no workspace", http.StatusNotFound, "There is no workspace")
		a.do(http.MethodPut, "/v1/workspaces/ws_none/plugins/review", "").wantProblem(t, "PUT of no workspace", http.StatusNotFound, "There is no workspace")
	})
}
