package api

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"workspace-server/internal/workspace"
)

// list returns the names in one page, and the next page's cursor.
func (a *testAPI) list(path string) ([]string, string) {
	a.t.Helper()
	resp := a.do("GET", path, "")
	if resp.status != 200 {
		a.t.Errorf("GET %s = %d %s, want a list", path, resp.status, resp.body)
		return nil, ""
	}
	var got page[workspace.Workspace]
	resp.decodeInto(a.t, &got)
	names := []string{}
	for _, w := range got.Items {
		names = append(names, w.Name)
	}
	return names, got.Next
}

func TestListFilters(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.writeTemplate("demo", demo)
		root := a.make(`{"name": "root", "labels": {"team": "blue", "gpu": ""}}`)
		a.make(`{"name": "one", "template": "demo", "parent": %q, "labels": {"team": "blue"}}`, root.ID)
		a.make(`{"name": "50%% two", "template": "demo", "parent": %q, "labels": {"team": "red", "note": "a=b&c"}}`, root.ID)
		tests := []struct {
			query string
			want  []string // in any order: they may share a millisecond
		}{
			{"", []string{"50% two", "one", "root"}},
			{"state=stopped&parent=&template=&q=", []string{"50% two", "one", "root"}},
			{"parent=none", []string{"root"}},
			{"parent=" + root.ID, []string{"50% two", "one"}},
			{"parent=ws_missing", []string{}},
			{"template=demo&label=team%3Dblue", []string{"one"}},
			{"label=team&label=note%3Da%3Db%26c", []string{"50% two"}},
			{"label=team=blue&label=gpu=", []string{"root"}},
			{"q=%25", []string{"50% two"}},
			{"q=O", []string{"50% two", "one", "root"}},
			{"q=ON&parent=" + root.ID, []string{"one"}},
		}
		for _, tt := range tests {
			got, _ := a.list("/v1/workspaces?" + tt.query)
			if slices.Sort(got); !slices.Equal(got, tt.want) {
				t.Errorf("GET /v1/workspaces?%s = %q, want %q", tt.query, got, tt.want)
			}
		}
		for query, detail := range map[string]string{
			"state=gone":          `The state "gone" is not known. Use one of: stopped, starting`,
			"parent=x":            "neither a workspace's id nor",
			"parent=ws_%00":       "neither a workspace's id nor",
			"template=../etc":     "template name",
			"label=":              `The label name "" is not valid`,
			"label=a%00":          "The label name",
			"label=a=%00":         "cannot be printed",
			"label=%3Db":          `The label name "" is not valid`,
			"q=%ff":               `parameter "q" is not valid UTF-8`,
			"q=%00":               "cannot be printed",
			"q=a&q=b":             `"q" is given twice`,
			"parent=none&parnt=x": `The parameter "parnt" is unknown`,
			strings.Repeat("label=a&", workspace.MaxLabels+1): `The parameter "label" is given 33 times`,
		} {
			a.do("GET", "/v1/workspaces?"+query, "").wantProblem(t, "list with "+query, 400, detail)
		}
	})
}

// A cursor is valid for the filters that it was made with, in any order and however
// often repeated, and for no others.
func TestCursorKeepsToItsFilters(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.make(`{"name": "root", "labels": {"a": "1", "b": "2"}}`)
		for range 3 {
			a.make(`{"name": "child", "parent": %q, "labels": {"a": "1", "b": "2"}}`, w.ID)
		}
		_, plain := a.list("/v1/workspaces?limit=1")
		_, filtered := a.list("/v1/workspaces?limit=1&label=a&label=b&q=child")
		_, ofPeers := a.list("/v1/workspaces/" + w.ID + "/peers?limit=1")
		if plain == "" || filtered == "" || ofPeers == "" {
			t.Fatalf("first pages of one have the cursors %q, %q, %q, want three", plain, filtered, ofPeers)
		}
		tests := []struct {
			path, cursor string
			ok           bool
		}{
			{"/v1/workspaces?limit=1", plain, true},
			{"/v1/workspaces?limit=9&q=&state=", plain, true},
			{"/v1/workspaces?q=child", plain, false},
			{"/v1/workspaces?q=child&label=b&label=a&limit=2", filtered, true},
			{"/v1/workspaces?label=a&label=b&label=a&q=child", filtered, true},
			{"/v1/workspaces?label=a&q=child", filtered, false},
			{"/v1/workspaces?label=a&label=b=&q=child", filtered, false},
			{"/v1/workspaces?label=a&label=b&q=child&parent=none", filtered, false},
			{"/v1/workspaces?", filtered, false},
			{"/v1/workspaces/" + w.ID + "/peers?", ofPeers, true},
			{"/v1/workspaces/" + w.ID + "/peers?", plain, false},
			{"/v1/workspaces?", ofPeers, false},
		}
		for _, tt := range tests {
			resp := a.do("GET", tt.path+"&cursor="+url.QueryEscape(tt.cursor), "")
			if tt.ok && resp.status != 200 {
				t.Errorf("GET %s with a cursor of the same filters = %d %s, want a page", tt.path, resp.status, resp.body)
			}
			if !tt.ok {
				resp.wantProblem(t, tt.path+" with a cursor of other filters", 400, "from a list with other filters")
			}
		}
	})
}

func TestPeers(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		root := a.make(`{"name": "root", "labels": {"role": "lead"}}`)
		other := a.make(`{"name": "other"}`)
		child := a.make(`{"name": "child", "parent": %q}`, root.ID)
		a.make(`{"name": "sibling", "parent": %q}`, root.ID)
		a.make(`{"name": "grandchild", "parent": %q}`, child.ID)
		nephew := a.make(`{"name": "nephew", "parent": %q}`, other.ID)

		path := "/v1/workspaces/" + child.ID + "/peers"
		for query, want := range map[string][]string{
			"":                {"grandchild", "root", "sibling"},
			"?label=role":     {"root"},
			"?parent=none":    {"root"},
			"?q=child":        {"grandchild"},
			"?template=other": {},
		} {
			got, _ := a.list(path + query)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("GET peers%s of child = %q, want %q", query, got, want)
			}
		}
		if got, want := a.do("GET", path+"/"+root.ID, ""), a.do("GET", "/v1/workspaces/"+root.ID, ""); got.status != 200 ||
			got.body != want.body || got.header.Get("ETag") != want.header.Get("ETag") {
			t.Errorf("GET peers/root of child = %d %s, want %s", got.status, got.body, want.body)
		}
		for _, peer := range []string{child.ID, other.ID, nephew.ID, "ws_missing", "x", "ws_%00"} {
			a.do("GET", path+"/"+peer, "").wantProblem(t, "GET peers/"+peer+" of child", 404, "has no peer")
		}
		for _, missing := range []string{"ws_missing", "x"} {
			for _, suffix := range []string{"/peers", "/peers/" + root.ID} {
				a.do("GET", "/v1/workspaces/"+missing+suffix, "").wantProblem(t, "GET "+suffix+" of nothing", 404, "There is no workspace")
			}
		}
		a.do("GET", path+"?limt=1", "").wantProblem(t, "GET peers?limt", 400, "is unknown")
	})
}
