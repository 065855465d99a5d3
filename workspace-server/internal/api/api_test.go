package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"workspace-server/internal/workspace"
)

func contextWithCancel(t *testing.T) (context.Context, func()) {
	t.Helper()
	// t.Context is done before the cleanups run, which would hide a server
	// that does not end what it was told to end.
	return context.WithCancel(context.Background())
}

const demo = "name: demo\ndescription: d\nversion: 1.0.0\ntier: 1\nruntime: shell\n"

func TestHealthAndReady(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		if got, want := a.do("GET", "/healthz", ""), "{\"status\":\""+statusOK+"\"}\n"; got.status != 200 || got.body != want {
			t.Errorf("GET /healthz = %d %s, want 200 %s", got.status, got.body, want)
		}
		resp := a.do("GET", "/readyz", "")
		var got ready
		resp.decodeInto(t, &got)
		if resp.status != 200 || got.Status != "ok" || got.PID == 0 || got.Build != "test" ||
			got.Database != (databaseReady{a.db.Driver(), "ok"}) || got.Started != "2023-11-14T22:13:20Z" {
			t.Errorf("GET /readyz = %d %s", resp.status, resp.body)
		}
		if err := a.db.Close(); err != nil {
			t.Fatal(err)
		}
		resp = a.do("GET", "/readyz", "")
		resp.wantProblem(t, "GET /readyz without a database", 503, "The database does not answer.")
		if resp.header.Get("Retry-After") == "" {
			t.Error("GET /readyz without a database says no Retry-After")
		}
		if got := a.do("GET", "/healthz", ""); got.status != 200 {
			t.Errorf("GET /healthz without a database = %d, want 200", got.status)
		}
	})
}

func TestWorkspaceStory(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.writeTemplate("demo", demo)
		resp := a.do("POST", "/v1/workspaces", `{"name": " build agent ", "template": "demo"}`)
		var made workspace.Workspace
		resp.decodeInto(t, &made)
		if resp.status != 201 || made.Name != "build agent" || made.Template != "demo" || made.Revision != 1 {
			t.Errorf("create = %d %s", resp.status, resp.body)
		}
		path := "/v1/workspaces/" + made.ID
		for name, want := range map[string]string{
			"Location": path, "ETag": `"1"`, "Content-Type": "application/json", "Cache-Control": "no-store",
		} {
			if got := resp.header.Get(name); got != want {
				t.Errorf("create: header %s = %q, want %q", name, got, want)
			}
		}
		if got := a.do("GET", path, ""); got.status != 200 || got.body != resp.body || got.header.Get("ETag") != `"1"` {
			t.Errorf("GET %s = %d %s, want %s", path, got.status, got.body, resp.body)
		}
		if got := a.do("HEAD", path, ""); got.status != 200 || got.body != "" || got.header.Get("ETag") != `"1"` {
			t.Errorf("HEAD %s = %d %q, want 200 without a body", path, got.status, got.body)
		}
		if got := a.do("DELETE", path, ""); got.status != 204 || got.body != "" {
			t.Errorf("DELETE %s = %d %q, want 204", path, got.status, got.body)
		}
		for _, method := range []string{"GET", "DELETE"} {
			a.do(method, path, "").wantProblem(t, method+" after DELETE", 404, "There is no workspace")
		}

		var got eventPage
		a.do("GET", "/v1/events", "").decodeInto(t, &got)
		if len(got.Items) != 2 || got.Last != 2 || got.Items[0].Type != workspace.EventCreated || got.Items[1].Type != workspace.EventDeleted {
			t.Errorf("GET /v1/events = %+v, want created and deleted", got)
		}
	})
}

func TestListWorkspaces(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		if got, want := a.do("GET", "/v1/workspaces", "").body, "{\"items\":[],\"next\":\"\"}\n"; got != want {
			t.Errorf("list of nothing = %s, want %s", got, want)
		}
		want := map[string]bool{}
		for i := range 5 {
			want[a.create(fmt.Sprint(i)).ID] = true
		}
		cursor, pages := "", 0
		for {
			var got page[workspace.Workspace]
			a.do("GET", "/v1/workspaces?limit=2&cursor="+cursor, "").decodeInto(t, &got)
			for _, w := range got.Items {
				if !want[w.ID] {
					t.Errorf("page %d has %s, which is not wanted (again)", pages, w.ID)
				}
				delete(want, w.ID)
			}
			pages++
			if cursor = got.Next; cursor == "" {
				break
			}
		}
		if len(want) > 0 || pages != 3 {
			t.Errorf("%d pages lack %v, want 3 pages with all", pages, want)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.writeTemplate("demo", demo)
		const body = `{"name": "a", "template": "demo"}`
		first := a.do("POST", "/v1/workspaces", body, "Idempotency-Key: k1")
		a.writeTemplate("demo", "broken")
		again := a.do("POST", "/v1/workspaces", body, "Idempotency-Key: k1")
		if first.status != 201 || again.status != 201 || again.body != first.body ||
			again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("the same request again = %d %s, want %d %s", again.status, again.body, first.status, first.body)
		}
		a.do("POST", "/v1/workspaces", `{"name": "b"}`, "Idempotency-Key: k1").
			wantProblem(t, "another request with the same key", 409, "Idempotency-Key")
		other := a.do("POST", "/v1/workspaces", `{"name": "b"}`, "Idempotency-Key: k2")
		if other.status != 201 || other.body == first.body {
			t.Errorf("another key = %d %s, want another workspace", other.status, other.body)
		}
		a.do("POST", "/v1/workspaces", `{"name": "b"}`, "Idempotency-Key: "+strings.Repeat("k", maxKey+1)).
			wantProblem(t, "a long key", 400, "at most 200 printable ASCII characters")
	})
}

func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.writeTemplate("broken", demo+"modle: x\n")
		const post, path = "POST", "/v1/workspaces"
		tests := []struct {
			method, path, body string
			headers            []string
			status             int
			detail             string
		}{
			{"GET", "/", "", nil, 404, "There is nothing at /."},
			{"GET", "/v1/workspace", "", nil, 404, "There is nothing at /v1/workspace."},
			{"GET", "/v1/workspaces/", "", nil, 404, "There is nothing at"},
			{"PUT", path, "", nil, 405, "/v1/workspaces allows only GET, HEAD, POST."},
			{post, "/healthz", "", nil, 405, "/healthz allows only GET, HEAD."},
			{"GET", path + "/ws_nothing", "", nil, 404, `There is no workspace "ws_nothing".`},
			{"GET", path + "/ws_%00", "", nil, 404, "There is no workspace"},
			{"GET", path + "/ws_" + strings.Repeat("a", 4000), "", nil, 404, "There is no workspace"},
			{"DELETE", path + "/../x", "", nil, 404, "There is nothing at"},

			{post, path, `{"name": "a"}`, []string{"Content-Type: text/plain"}, 415, "Content-Type: application/json"},
			{post, path, "{}", nil, 400, "The name is required"},
			{post, path, "", []string{"Content-Type: application/json"}, 400, "The body is empty"},
			{post, path, `{"name": "a"`, nil, 400, "ends in the middle"},
			{post, path, `{"name": 'a'}`, nil, 400, "The body is not JSON: invalid character"},
			{post, path, `[]`, nil, 400, "The body is a JSON array. Send an object."},
			{post, path, `{"name": 1}`, nil, 400, `The field "name" must not be a JSON number.`},
			{post, path, `{"name": "a", "nmae": "b"}`, nil, 400, `The field "nmae" is unknown. Correct it`},
			{post, path, `{"name": "a", "volumes": ["/etc:/configs"]}`, nil, 400, `The field "volumes" is unknown.`},
			{post, path, `{"name": "a"} {}`, nil, 400, "more than one JSON value"},
			{post, path, `{"name": "` + strings.Repeat("a", maxBody) + `"}`, nil, 413, "larger than 64 KiB"},
			{post, path, `{"name": "a\u0000b"}`, nil, 400, "cannot be printed"},
			{post, path, `{"name": "a", "template": "nothing"}`, nil, 400, `There is no template "nothing".`},
			{post, path, `{"name": "a", "template": "../etc"}`, nil, 400, "template name"},
			{post, path, `{"name": "a", "template": "broken"}`, nil, 400, `line 6: unknown key "modle"`},

			{"GET", path + "?limt=1", "", nil, 400, `The parameter "limt" is unknown. Use one of: limit, cursor, state, parent, template, q, label.`},
			{"GET", path + "?limit=1&limit=2", "", nil, 400, `"limit" is given twice`},
			{"GET", path + "?limit=0", "", nil, 400, "a number from 1 to 200"},
			{"GET", path + "?limit=x", "", nil, 400, "a number from 1 to 200"},
			{"GET", path + "?cursor=x", "", nil, 400, "unchanged"},
			{"GET", path + "?a=%zz", "", nil, 400, "The query cannot be read."},

			{"GET", "/v1/events?after=x", "", nil, 400, `The parameter "after" must be the number of an event.`},
			{"GET", "/v1/events?after=-1", "", nil, 400, "number of an event"},
			{"GET", "/v1/events?after=7", "", nil, 400, "There is no event 7 yet; the last one is 0."},
			{"GET", "/v1/events?wait=31", "", nil, 400, "a number from 0 to 30"},
			{"GET", "/v1/events", "", []string{"Accept: text/event-stream", "Last-Event-ID: x"}, 400, "The header Last-Event-ID must be"},
			{"GET", "/v1/events", "", []string{"Accept: text/event-stream", "Last-Event-ID: 7"}, 400, "There is no event 7 yet"},
		}
		for _, tt := range tests {
			call := fmt.Sprintf("%s %.60s %.60s %v", tt.method, tt.path, tt.body, tt.headers)
			resp := a.do(tt.method, tt.path, tt.body, tt.headers...)
			resp.wantProblem(t, call, tt.status, tt.detail)
			if allow := resp.header.Get("Allow"); (tt.status == 405) != (allow != "") {
				t.Errorf("%s: header Allow = %q", call, allow)
			}
		}
		if last, err := a.store.LastEvent(t.Context()); err != nil || last != 0 {
			t.Errorf("after refusals the last event is %d, %v, want 0", last, err)
		}
	})
}

func TestTemplatesAreLive(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		if got, want := a.do("GET", "/v1/templates", "").body, "{\"items\":[]}\n"; got != want {
			t.Errorf("GET /v1/templates of none = %s, want %s", got, want)
		}
		list := func() (names, wrong []string) {
			var got struct {
				Items []struct {
					Name   string
					Errors []string
				}
			}
			resp := a.do("GET", "/v1/templates", "")
			if err := unmarshalLoose(resp.body, &got); err != nil || resp.status != 200 {
				t.Fatalf("GET /v1/templates = %d %s", resp.status, resp.body)
			}
			for _, item := range got.Items {
				names = append(names, item.Name)
				wrong = append(wrong, item.Errors...)
			}
			return names, wrong
		}
		a.writeTemplate("demo", demo)
		if names, wrong := list(); !slices.Equal(names, []string{"demo"}) || len(wrong) > 0 {
			t.Errorf("GET /v1/templates = %v, %v, want demo without errors", names, wrong)
		}
		a.writeTemplate("demo", demo+"modle: x\n")
		if _, wrong := list(); !slices.Equal(wrong, []string{`line 6: unknown key "modle"`}) {
			t.Errorf("GET /v1/templates after an edit has errors %q, want the unknown key", wrong)
		}
	})
}

func TestRequestID(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		for given, kept := range map[string]bool{
			"trace-1.2_3": true, "a b": false, "a\"b": false, strings.Repeat("a", 65): false, "": false,
		} {
			got := a.do("GET", "/healthz", "", "X-Request-Id: "+given).header.Get("X-Request-Id")
			if (got == given) != kept || got == "" {
				t.Errorf("X-Request-Id %q is answered with %q, want it kept: %t", given, got, kept)
			}
		}
	})
}

func TestOutageIsLoggedOnceWithItsCause(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		if err := a.db.Close(); err != nil {
			t.Fatal(err)
		}
		a.do("GET", "/v1/workspaces", "").wantProblem(t, "list without a database", 500, "look for the request id")
		log := a.log.String()
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "sql: database is closed") {
			t.Errorf("the log is\n%swant one line with the cause", log)
		}
	})
}
