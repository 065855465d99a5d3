package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/workspace"
)

const asMergePatch = "Content-Type: " + mergePatch

func TestPatchStory(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		root := a.make(`{"name": "root"}`)
		w := a.make(`{"name": "a", "labels": {"team": "blue", "gpu": "1"}}`)
		path := "/v1/workspaces/" + w.ID
		steps := []struct {
			body     string
			header   string
			status   int
			revision int64
			name     string
			parent   string
			labels   workspace.Labels
		}{
			{`{}`, `If-Match: *`, 200, 1, "a", "", workspace.Labels{"team": "blue", "gpu": "1"}},
			{`{"name": " b "}`, `If-Match: "1"`, 200, 2, "b", "", workspace.Labels{"team": "blue", "gpu": "1"}},
			{`{"name": "c"}`, `If-Match: "1"`, 412, 2, "b", "", workspace.Labels{"team": "blue", "gpu": "1"}},
			{`{"name": "c"}`, `If-Match: W/"2"`, 412, 2, "b", "", workspace.Labels{"team": "blue", "gpu": "1"}},
			{`{"labels": {"gpu": null, "tier": ""}}`, `If-Match: "1", "2"`, 200, 3, "b", "", workspace.Labels{"team": "blue", "tier": ""}},
			{`{"parent": "` + root.ID + `"}`, "", 200, 4, "b", root.ID, workspace.Labels{"team": "blue", "tier": ""}},
			{`{"name": "b", "labels": {"none": null}}`, "", 200, 4, "b", root.ID, workspace.Labels{"team": "blue", "tier": ""}},
			{`{"parent": null, "labels": null}`, "", 200, 5, "b", "", workspace.Labels{}},
		}
		for _, step := range steps {
			call := fmt.Sprintf("PATCH %s %s", step.body, step.header)
			headers := []string{asMergePatch}
			if step.header != "" {
				headers = append(headers, step.header)
			}
			resp := a.do("PATCH", path, step.body, headers...)
			if step.status != 200 {
				resp.wantProblem(t, call, step.status, "at revision 2")
			}
			stored := a.do("GET", path, "")
			var got workspace.Workspace
			stored.decodeInto(t, &got)
			if got.Name != step.name || got.Parent != step.parent || !maps.Equal(got.Labels, step.labels) || got.Revision != step.revision {
				t.Errorf("%s leaves %+v, want %+v", call, got, step)
			}
			if resp.status == 200 && (resp.body != stored.body || resp.header.Get("ETag") != stored.header.Get("ETag")) {
				t.Errorf("%s = %s, ETag %s, want %s", call, resp.body, resp.header.Get("ETag"), stored.body)
			}
		}
		var got eventPage
		a.do("GET", "/v1/events?after=2", "").decodeInto(t, &got)
		if len(got.Items) != 4 {
			t.Errorf("the patches wrote %d events, want one for each revision", len(got.Items))
		}
		for _, e := range got.Items {
			if e.Type != workspace.EventUpdated || e.Workspace != w.ID {
				t.Errorf("event %+v, want %s of %s", e, workspace.EventUpdated, w.ID)
			}
		}
	})
}

func TestPatchRefusals(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.make(`{"name": "a"}`)
		path := "/v1/workspaces/" + w.ID
		child := a.make(`{"name": "b", "parent": %q}`, w.ID)
		tests := []struct {
			body   string
			header string
			status int
			detail string
		}{
			{`{"name": "b"}`, "Content-Type: application/json", 415, "Content-Type: application/merge-patch+json"},
			{``, asMergePatch, 400, "The body is empty"},
			{`null`, asMergePatch, 400, "The body must be a JSON object."},
			{`[]`, asMergePatch, 400, "The body must be a JSON object."},
			{`{"name": "b"} {}`, asMergePatch, 400, "more than one JSON value"},
			{`{"name": "b"`, asMergePatch, 400, "ends in the middle"},
			{"{\"name\": \"\xff\"}", asMergePatch, 400, "not valid UTF-8"},
			{`{"name": "b", "name": "c"}`, asMergePatch, 400, `The body has the field "name" twice.`},
			{`{"name": null}`, asMergePatch, 400, `The field "name" cannot be removed.`},
			{`{"name": ""}`, asMergePatch, 400, "The name is required"},
			{`{"name": 1}`, asMergePatch, 400, `The field "name" must be a JSON string or null.`},
			{`{"Name": "b"}`, asMergePatch, 400, `The field "Name" is unknown`},
			{`{"nmae": "b"}`, asMergePatch, 400, `The field "nmae" is unknown. A patch may have name, parent, labels and idle_minutes.`},
			{`{"template": "b"}`, asMergePatch, 400, `The field "template" cannot be changed`},
			{`{"name": "b", "revision": 7}`, asMergePatch, 400, `The field "revision" cannot be changed`},
			{`{"idle_minutes": "5"}`, asMergePatch, 400, `The field "idle_minutes" must be a whole number or null.`},
			{`{"idle_minutes": 1.5}`, asMergePatch, 400, `The field "idle_minutes" must be a whole number or null.`},
			{`{"idle_minutes": -1}`, asMergePatch, 400, `The field "idle_minutes" must be a number from 0, which means never, to 43200`},
			{`{"idle_minutes": 43201}`, asMergePatch, 400, `The field "idle_minutes" must be a number from 0, which means never, to 43200`},
			{`{"labels": []}`, asMergePatch, 400, `The field "labels" must be a JSON object.`},
			{`{"labels": {"a": {}}}`, asMergePatch, 400, `The field "labels.a" must be a JSON string or null.`},
			{`{"labels": {"a": "1", "a": "2"}}`, asMergePatch, 400, `The field "labels" has the field "a" twice.`},
			{`{"labels": {"a b": "1"}}`, asMergePatch, 400, `The label name "a b" is not valid`},
			{`{"parent": 1}`, asMergePatch, 400, `The field "parent" must be`},
			{`{"parent": "ws_missing"}`, asMergePatch, 400, "to be the parent"},
			{`{"parent": "` + w.ID + `"}`, asMergePatch, 409, "its own parent"},
			{`{"parent": "` + child.ID + `"}`, asMergePatch, 409, "cannot become its parent"},
			{`{"name": "` + strings.Repeat("a", maxBody) + `"}`, asMergePatch, 413, "larger than 64 KiB"},
		}
		for _, tt := range tests {
			resp := a.do("PATCH", path, tt.body, tt.header)
			resp.wantProblem(t, fmt.Sprintf("PATCH %.60s", tt.body), tt.status, tt.detail)
			if got := resp.header.Get("Accept-Patch"); got != mergePatch {
				t.Errorf("PATCH %.60s: Accept-Patch = %q, want %q", tt.body, got, mergePatch)
			}
		}
		a.do("PATCH", "/v1/workspaces/ws_missing", `{}`, asMergePatch).wantProblem(t, "PATCH of nothing", 404, "There is no workspace")
		a.do("PATCH", path, `{}`, asMergePatch, "If-Match: 1").wantProblem(t, "PATCH with a bare tag", 400, "The header If-Match must be")
		if last, err := a.store.LastEvent(t.Context()); err != nil || last != 2 {
			t.Errorf("after refusals the last event is %d, %v, want 2", last, err)
		}
	})
}

func TestConditionalGetAndDelete(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		path := "/v1/workspaces/" + a.make(`{"name": "a"}`).ID
		for tags, want := range map[string]int{
			`"1"`: 304, `W/"1"`: 304, `"0", "1"`: 304, `*`: 304, `"2"`: 200, `"01"`: 200,
		} {
			got := a.do("GET", path, "", "If-None-Match: "+tags)
			if got.status != want || got.header.Get("ETag") != `"1"` || (got.body == "") != (want == 304) {
				t.Errorf("GET with If-None-Match: %s = %d %q, ETag %s, want %d", tags, got.status, got.body, got.header.Get("ETag"), want)
			}
		}
		a.do("GET", path, "", "If-None-Match: 1").wantProblem(t, "GET with a bare tag", 400, "The header If-None-Match must be")
		a.do("DELETE", path, "", `If-Match: "2"`).wantProblem(t, "DELETE of another revision", 412, "at revision 1")
		if got := a.do("DELETE", path, "", `If-Match: "1"`); got.status != 204 {
			t.Errorf("DELETE of this revision = %d %s, want 204", got.status, got.body)
		}
	})
}

func TestTagsOf(t *testing.T) {
	tests := []struct {
		given []string
		want  []string // nil: none
		ok    bool
	}{
		{nil, nil, true},
		{[]string{""}, []string{}, true},
		{[]string{"*"}, []string{"*"}, true},
		{[]string{`"1"`}, []string{`"1"`}, true},
		{[]string{`"1" ,W/"a, b"`, `"3"`}, []string{`"1"`, `W/"a, b"`, `"3"`}, true},
		{[]string{`, "1",,"2",`}, []string{`"1"`, `"2"`}, true},
		{[]string{`1`}, nil, false},
		{[]string{`"1`}, nil, false},
		{[]string{`"1""2"`}, nil, false},
		{[]string{`"1" "2"`}, nil, false},
		{[]string{`*, "1"`}, nil, false},
		{[]string{`w/"1"`}, nil, false},
	}
	for _, tt := range tests {
		got, err := tagsOf(&http.Request{Header: http.Header{"If-Match": tt.given}}, "If-Match")
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("tagsOf(%q) = %q, %v, want %q", tt.given, got, err, tt.want)
		}
	}
}

// mergeByTheBook is RFC 7396's own algorithm.
func mergeByTheBook(target, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result, ok := target.(map[string]any)
	if !ok {
		result = map[string]any{}
	}
	for name, value := range fields {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = mergeByTheBook(result[name], value)
		}
	}
	return result
}

// Every accepted patch does what RFC 7396 says, twice the same as once. Every refusal
// says why.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `"a"`, `{"name":"b"}`, `{"name" : null }`, `{"labels":null }`, `{"labels":{}}`,
		`{"labels":{"a":null,"b":"2","c":""},"parent":null}`, `{"parent":"ws_a"}`, `{"parent":""}`,
		`{"name":"a","name":"b"}`, `{"labels":{"a":"1","a":null}}`, `{"NAME":"b"}`, `{"id":"ws_b"}`,
		`{"labels":[{"a":1}]}`, `{"name":"\ud800"}`, `{"n\u0061me":"x"}`, `{"labels":{"a":{"b":null}}}`, `{`, ``, "\xff",
	} {
		f.Add([]byte(seed))
	}
	start, err := workspace.New(workspace.Spec{Name: "a", Parent: "ws_p", Labels: workspace.Labels{"a": "1", "d": "4"}}, time.UnixMilli(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		patch, err := parsePatch(body)
		if err != nil {
			if workspace.KindOf(err) != workspace.Invalid || workspace.Message(err) == "" {
				t.Fatalf("parsePatch(%q) = %v (%s), want Invalid", body, err, workspace.KindOf(err))
			}
			return
		}
		got, _, err := patch.Apply(start, time.UnixMilli(2))
		if err != nil {
			if workspace.KindOf(err) != workspace.Invalid {
				t.Fatalf("Apply(%q) = %v, want Invalid", body, err)
			}
			return
		}
		if again, changed, err := patch.Apply(got, time.UnixMilli(3)); err != nil || changed || !reflect.DeepEqual(again, got) {
			t.Fatalf("Apply(%q) twice = %+v, %t, %v, want nothing new", body, again, changed, err)
		}
		var document any
		if err := json.Unmarshal(body, &document); err != nil {
			t.Fatalf("parsePatch(%q) accepts what is not JSON: %v", body, err)
		}
		merged := mergeByTheBook(map[string]any{
			"name": "a", "parent": "ws_p", "labels": map[string]any{"a": "1", "d": "4"},
		}, document).(map[string]any)
		labels := map[string]any{}
		for name, value := range got.Labels {
			labels[name] = value
		}
		wantLabels, _ := merged["labels"].(map[string]any)
		wantParent, _ := merged["parent"].(string)
		if got.Name != strings.TrimSpace(merged["name"].(string)) || got.Parent != wantParent ||
			!maps.Equal(labels, wantLabels) {
			t.Fatalf("Apply(%q) = %+v, want %v", body, got, merged)
		}
	})
}

func TestIdleMinutes(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.make(`{"name": "a", "idle_minutes": 30}`)
		if w.IdleMinutes != 30 {
			t.Errorf("create = %+v, want 30 minutes", w)
		}
		for _, step := range []struct {
			body string
			want int64
		}{
			{`{"idle_minutes": 5}`, 5},
			{`{"name": "b"}`, 5},
			{`{"idle_minutes": null}`, 0},
		} {
			var got, again workspace.Workspace
			a.do("PATCH", "/v1/workspaces/"+w.ID, step.body, asMergePatch).decodeInto(t, &got)
			a.do("GET", "/v1/workspaces/"+w.ID, "").decodeInto(t, &again)
			if got.IdleMinutes != step.want || again.IdleMinutes != step.want {
				t.Errorf("PATCH %s = %+v, then %+v, want %d minutes", step.body, got, again, step.want)
			}
		}
	})
}
