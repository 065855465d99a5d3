package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// callers has the status that refuses each kind of caller.
type callers struct{ none, removed, other, own, admin int }

const passes = 0 // not refused

// matrix says who may use which route. A route that is missing here fails the test.
func matrix() map[string]callers {
	const no, late, forbidden = http.StatusUnauthorized, http.StatusGone, http.StatusForbidden
	everybody := callers{passes, passes, passes, passes, passes}
	withToken := callers{no, late, passes, passes, passes}
	itself := callers{no, late, forbidden, passes, passes}
	admins := callers{no, late, forbidden, forbidden, passes}
	return map[string]callers{
		"GET /healthz":                               everybody,
		"GET /readyz":                                everybody,
		"POST /v1/workspaces":                        admins,
		"GET /v1/workspaces":                         admins,
		"GET /v1/workspaces/{id}":                    itself,
		"PATCH /v1/workspaces/{id}":                  itself,
		"DELETE /v1/workspaces/{id}":                 admins,
		"POST /v1/workspaces/{id}/start":             admins,
		"POST /v1/workspaces/{id}/pause":             admins,
		"POST /v1/workspaces/{id}/hibernate":         admins,
		"POST /v1/workspaces/{id}/restart":           admins,
		"GET /v1/workspaces/{id}/transitions":        itself,
		"GET /v1/workspaces/{id}/logs":               itself,
		"GET /v1/workspaces/{id}/peers":              itself,
		"GET /v1/workspaces/{id}/peers/{peer}":       itself,
		"GET /v1/templates":                          admins,
		"GET /v1/events":                             withToken,
		"GET /openapi.json":                          everybody,
		"GET /docs":                                  everybody,
		"GET /v1/secrets":                            admins,
		"PUT /v1/secrets/{name}":                     admins,
		"DELETE /v1/secrets/{name}":                  admins,
		"GET /v1/workspaces/{id}/secrets":            admins,
		"PUT /v1/workspaces/{id}/secrets/{name}":     admins,
		"DELETE /v1/workspaces/{id}/secrets/{name}":  admins,
		"GET /v1/workspaces/{id}/files":              itself,
		"GET /v1/workspaces/{id}/files/{path...}":    itself,
		"PUT /v1/workspaces/{id}/files/{path...}":    admins,
		"DELETE /v1/workspaces/{id}/files/{path...}": admins,
		"GET /v1/plugins":                            admins,
		"GET /v1/workspaces/{id}/plugins":            admins,
		"PUT /v1/workspaces/{id}/plugins/{name}":     admins,
		"DELETE /v1/workspaces/{id}/plugins/{name}":  admins,
		"POST /v1/tokens":                            admins,
		"GET /v1/tokens":                             admins,
		"DELETE /v1/tokens/{id}":                     admins,
		"GET /v1/tokens/self":                        withToken,

		"GET /v1/workspaces/{id}/peers/{peer}/agent-card": itself,
		"POST /v1/workspaces/{id}/register":               itself,
		"POST /v1/workspaces/{id}/heartbeat":              itself,
		"GET /v1/workspaces/{id}/agent":                   itself,
		"GET /v1/workspaces/{id}/agent-card":              itself,
		"POST /v1/workspaces/{id}/a2a":                    withToken, // of a peer, which the other is here
		"GET /metrics":                                    admins,
	}
}

// TestAccess calls each route with each kind of credential.
func TestAccess(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		mine, other := a.create("mine"), a.create("other")
		removed := a.create("removed")
		revoked := a.token(token.Spec{Role: token.Admin})
		expired := a.token(token.Spec{Role: token.Admin, Lifetime: time.Millisecond})
		late := a.token(token.Spec{Role: token.Workspace, Workspace: removed.ID})
		lateRevoked := a.token(token.Spec{Role: token.Workspace, Workspace: removed.ID})
		for _, secret := range []token.Secret{revoked, lateRevoked} {
			known, err := a.store.Authenticate(t.Context(), secret.Hash())
			if err == nil {
				err = a.store.RevokeToken(t.Context(), known.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		a.do(http.MethodDelete, "/v1/workspaces/"+removed.ID, "")
		time.Sleep(2 * time.Millisecond)
		ownToken := a.token(token.Spec{Role: token.Workspace, Workspace: mine.ID})
		otherToken := a.token(token.Spec{Role: token.Workspace, Workspace: other.ID})

		bearer := func(s token.Secret) string { return "Authorization: Bearer " + string(s) }
		credentials := []struct {
			name, header string
			want         func(callers) int
		}{
			{"no token", "Authorization: ", func(c callers) int { return c.none }},
			{"junk", "Authorization: Bearer junk", func(c callers) int { return c.none }},
			{"another scheme", "Authorization: Basic " + string(a.secret), func(c callers) int { return c.none }},
			{"no scheme", "Authorization: " + string(a.secret), func(c callers) int { return c.none }},
			{"unknown", bearer(token.NewSecret()), func(c callers) int { return c.none }},
			{"cut short", bearer(a.secret[:len(a.secret)-1]), func(c callers) int { return c.none }},
			{"revoked", bearer(revoked), func(c callers) int { return c.none }},
			{"expired", bearer(expired), func(c callers) int { return c.none }},
			{"removed workspace's", bearer(late), func(c callers) int { return c.removed }},
			{"removed workspace's, revoked before", bearer(lateRevoked), func(c callers) int { return c.none }},
			{"other workspace's", bearer(otherToken), func(c callers) int { return c.other }},
			{"workspace's own", bearer(ownToken), func(c callers) int { return c.own }},
			{"admin", bearer(a.secret), func(c callers) int { return c.admin }},
		}
		matrix := matrix()
		routes := (&api{}).routes()
		if len(routes) != len(matrix) {
			t.Errorf("there are %d routes and %d in the matrix, want the same", len(routes), len(matrix))
		}
		ask := func(pattern, header string) answer {
			method, path, _ := strings.Cut(pattern, " ")
			id := mine.ID
			if strings.Contains(path, "/tokens/") {
				id = "tok_none"
			}
			path = strings.NewReplacer("{id}", id, "{peer}", other.ID, "{name}", "NAME", "{path...}", "d/a.txt").Replace(path)
			if method == http.MethodDelete && id == mine.ID {
				path += "?children=none" // an error, but only after the caller was checked
			}
			return a.do(method, path, "", header)
		}
		for _, r := range routes {
			want, ok := matrix[r.pattern]
			if !ok {
				t.Errorf("%s is not in the matrix: say who may use it", r.pattern)
				continue
			}
			for _, c := range credentials {
				call := fmt.Sprintf("%s, %s", r.pattern, c.name)
				got := ask(r.pattern, c.header)
				switch status := c.want(want); {
				case status != passes:
					got.wantProblem(t, call, status, "")
					if challenge := got.header.Get("WWW-Authenticate"); (status == 401) != strings.HasPrefix(challenge, "Bearer") {
						t.Errorf("%s has the challenge %q", call, challenge)
					}
				case got.status == 401 || got.status == 403 || got.status >= 500:
					t.Errorf("%s = %d %s, want it to be let through", call, got.status, got.body)
				}
			}
		}
		if err := a.db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			for _, c := range credentials {
				if got := ask(r.pattern, c.header); got.status < 400 && (r.access != public || r.pattern == "GET /readyz") {
					t.Errorf("%s, %s, without a database = %d %s, want it to be refused", r.pattern, c.name, got.status, got.body)
				}
			}
		}
	})
}

// A workspace's own token changes the name and labels of the workspace, but not its
// peers.
func TestOwnTokenKeepsItsPlace(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		mine, other := a.create("mine"), a.create("other")
		own := "Authorization: Bearer " + string(a.token(token.Spec{Role: token.Workspace, Workspace: mine.ID}))
		patch := func(body string) answer {
			return a.do(http.MethodPatch, "/v1/workspaces/"+mine.ID, body, own, "Content-Type: "+mergePatch)
		}
		for _, body := range []string{`{"parent":"` + other.ID + `"}`, `{"parent":null}`, `{"name":"x","parent":""}`, `{"idle_minutes":0}`} {
			patch(body).wantProblem(t, "PATCH "+body, http.StatusForbidden, "needs a token of the role admin")
		}
		if got := patch(`{"name":"renamed"}`); got.status != http.StatusOK {
			t.Errorf("PATCH of the name = %d %s, want 200", got.status, got.body)
		}
		var now workspace.Workspace
		a.do(http.MethodGet, "/v1/workspaces/"+mine.ID, "", own).decodeInto(t, &now)
		if now.Name != "renamed" || now.Parent != "" {
			t.Errorf("the workspace is %+v, want another name and the same parent", now)
		}
	})
}

// The token of a workspace sees that workspace's events, with their numbers.
func TestEventsOfOwnToken(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.create("before")
		mine := a.create("mine")
		a.create("after")
		own := "Authorization: Bearer " + string(a.token(token.Spec{Role: token.Workspace, Workspace: mine.ID}))
		var got eventPage
		a.do(http.MethodGet, "/v1/events", "", own).decodeInto(t, &got)
		if len(got.Items) != 1 || got.Items[0].Workspace != mine.ID || got.Items[0].Seq != 2 || got.Last != 3 {
			t.Errorf("GET /v1/events = %+v, want event 2 alone, and 3 as the place to continue from", got)
		}
		s := a.stream("/v1/events?after=0", own)
		if first, _ := s.block(); first["id"] != "0" {
			t.Errorf("the stream begins with %v, want the number that was given", first)
		}
		if next, _ := s.block(); next["id"] != "2" || !strings.Contains(next["data"], mine.ID) {
			t.Errorf("the stream goes on with %v, want event 2", next)
		}
		a.create("unseen")
		a.do(http.MethodPatch, "/v1/workspaces/"+mine.ID, `{"name":"x"}`, own, "Content-Type: "+mergePatch)
		if next, _ := s.block(); next["id"] != "5" || next["event"] != workspace.EventUpdated {
			t.Errorf("the stream goes on with %v, want event 5", next)
		}
	})
}

func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("w")
		post := func(body string) answer { return a.do(http.MethodPost, "/v1/tokens", body) }
		for body, detail := range map[string]string{
			`{}`:                              "role must be admin or workspace",
			`{"role":"root"}`:                 "role must be admin or workspace",
			`{"role":"admin","secret":"x"}`:   `"secret" is unknown`,
			`{"role":"admin","expires_in":0}`: "expires_in",
			`{"role":"admin","expires_in":99999999999}`:   "expires_in",
			`{"role":"admin","workspace":"` + w.ID + `"}`: "belongs to no workspace",
			`{"role":"workspace"}`:                        "needs the id of its workspace",
		} {
			post(body).wantProblem(t, "POST /v1/tokens "+body, http.StatusBadRequest, detail)
		}
		post(`{"role":"workspace","workspace":"ws_none"}`).wantProblem(t, "for no workspace", http.StatusNotFound, "There is no workspace")

		var fresh made
		resp := post(`{"role":"workspace","workspace":"` + w.ID + `","name":"agent","expires_in":60}`)
		resp.decodeInto(t, &fresh)
		if resp.status != http.StatusCreated || fresh.Expires != fresh.Created+60_000 || fresh.LastUsed != 0 || !strings.HasPrefix(string(fresh.Secret), fresh.Prefix) {
			t.Errorf("POST /v1/tokens = %d %s, want a token for a minute, with its secret", resp.status, resp.body)
		}
		var self token.Token
		a.do(http.MethodGet, "/v1/tokens/self", "", "Authorization: bearer  "+string(fresh.Secret)).decodeInto(t, &self)
		if self.ID != fresh.ID || self.LastUsed == 0 {
			t.Errorf("GET /v1/tokens/self = %+v, want %s, used just now", self, fresh.ID)
		}

		list := a.do(http.MethodGet, "/v1/tokens?limit=1", "")
		var first, second page[token.Token]
		list.decodeInto(t, &first)
		a.do(http.MethodGet, "/v1/tokens?limit=1&cursor="+first.Next, "").decodeInto(t, &second)
		if len(first.Items) != 1 || len(second.Items) != 1 || first.Items[0] != self || second.Items[0].Role != token.Admin || second.Next != "" {
			t.Errorf("GET /v1/tokens = %+v, then %+v, want the new one, then the administrator's", first, second)
		}
		if secret := string(fresh.Secret); strings.Contains(list.body, secret) || strings.Contains(list.body, fresh.Secret.Hash()) || strings.Contains(a.log.String(), secret) {
			t.Error("a secret is shown again, or logged")
		}
		for range 2 {
			if got := a.do(http.MethodDelete, "/v1/tokens/"+fresh.ID, ""); got.status != http.StatusNoContent {
				t.Errorf("DELETE = %d %s, want 204", got.status, got.body)
			}
		}
		a.do(http.MethodDelete, "/v1/tokens/tok_none", "").wantProblem(t, "DELETE of none", http.StatusNotFound, "There is no token")
		a.do(http.MethodDelete, "/v1/tokens/x%00", "").wantProblem(t, "DELETE of junk", http.StatusNotFound, "There is no token")
		a.do(http.MethodGet, "/v1/tokens/self", "", "Authorization: Bearer "+string(fresh.Secret)).wantProblem(t, "revoked", http.StatusUnauthorized, "was revoked")
		a.do(http.MethodGet, "/v1/tokens", "").decodeInto(t, &first)
		if len(first.Items) != 2 || first.Items[0].Revoked == 0 {
			t.Errorf("GET /v1/tokens after a revocation = %+v, want it listed", first)
		}
	})
}
