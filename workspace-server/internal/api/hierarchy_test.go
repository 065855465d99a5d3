package api

import (
	"fmt"
	"maps"
	"testing"

	"workspace-server/internal/workspace"
)

// make creates a workspace from a document and returns it.
func (a *testAPI) make(format string, args ...any) workspace.Workspace {
	a.t.Helper()
	body := fmt.Sprintf(format, args...)
	resp := a.do("POST", "/v1/workspaces", body)
	if resp.status != 201 {
		a.t.Fatalf("create %s = %d %s", body, resp.status, resp.body)
	}
	var w workspace.Workspace
	resp.decodeInto(a.t, &w)
	return w
}

func TestCreateWithLabelsAndParent(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		root := a.make(`{"name": "root"}`)
		if root.Parent != "" || root.Labels == nil || len(root.Labels) > 0 {
			t.Errorf("a workspace of its name alone = %+v, want no parent and no labels", root)
		}
		child := a.make(`{"name": "child", "parent": %q, "labels": {"team": "blue", "gpu": ""}}`, root.ID)
		want := workspace.Labels{"team": "blue", "gpu": ""}
		if child.Parent != root.ID || !maps.Equal(child.Labels, want) {
			t.Errorf("child = %+v, want parent %s and labels %v", child, root.ID, want)
		}
		tests := []struct {
			body   string
			status int
			detail string
		}{
			{`{"name": "a", "parent": "ws_missing"}`, 400, `There is no workspace "ws_missing" to be the parent.`},
			{`{"name": "a", "parent": "ws_\u0000"}`, 400, "is not a workspace's id"},
			{`{"name": "a", "parent": 1}`, 400, `The field "parent" must not be a JSON number.`},
			{`{"name": "a", "labels": {"a b": "c"}}`, 400, `The label name "a b" is not valid`},
			{`{"name": "a", "labels": {"a": null}}`, 400, `The label "a" must not be null.`},
			{`{"name": "a", "labels": {"a": 1}}`, 400, "must not be a JSON number"},
			{`{"name": "a", "labels": ["a"]}`, 400, `The field "labels" must not be a JSON array.`},
		}
		for _, tt := range tests {
			a.do("POST", "/v1/workspaces", tt.body).wantProblem(t, "create "+tt.body, tt.status, tt.detail)
		}
	})
}

func TestDeleteParent(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		root := a.make(`{"name": "root"}`)
		child := a.make(`{"name": "child", "parent": %q}`, root.ID)
		grandchild := a.make(`{"name": "grandchild", "parent": %q}`, child.ID)
		path := func(w workspace.Workspace) string { return "/v1/workspaces/" + w.ID }

		for query, want := range map[string]struct {
			status int
			detail string
		}{
			"":                               {409, "has children (1)"},
			"?children=refuse":               {409, "children=cascade to delete all that is below it"},
			"?children=all":                  {400, "must be refuse, cascade or orphan"},
			"?childen=cascade":               {400, `The parameter "childen" is unknown`},
			"?children=orphan&children=none": {400, "given twice"},
		} {
			a.do("DELETE", path(root)+query, "").wantProblem(t, "DELETE "+query, want.status, want.detail)
		}
		if got := a.do("DELETE", path(root)+"?children=orphan", ""); got.status != 204 {
			t.Errorf("DELETE ?children=orphan = %d %s, want 204", got.status, got.body)
		}
		var orphan workspace.Workspace
		a.do("GET", path(child), "").decodeInto(t, &orphan)
		if orphan.Parent != "" || orphan.Revision != 2 {
			t.Errorf("the orphan = %+v, want a root at revision 2", orphan)
		}
		if got := a.do("DELETE", path(child)+"?children=cascade", ""); got.status != 204 {
			t.Errorf("DELETE ?children=cascade = %d %s, want 204", got.status, got.body)
		}
		a.do("GET", path(grandchild), "").wantProblem(t, "GET after a cascade", 404, "There is no workspace")
	})
}
