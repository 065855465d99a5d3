package api

import (
	"net/http"
	"strings"
	"testing"

	"workspace-server/internal/secret"
)

func TestSecrets(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("w")
		for _, base := range []string{"/v1/secrets", "/v1/workspaces/" + w.ID + "/secrets"} {
			put := func(name, body string) answer { return a.do(http.MethodPut, base+"/"+name, body) }
			for i, status := range []int{http.StatusCreated, http.StatusNoContent} {
				if got := put("API_KEY", `{"value":"hunter2"}`); got.status != status || got.body != "" {
					t.Errorf("PUT %s/API_KEY, time %d = %d %q, want %d", base, i+1, got.status, got.body, status)
				}
			}
			resp := a.do(http.MethodGet, base, "")
			var list struct{ Items []secret.Secret }
			resp.decodeInto(t, &list)
			if len(list.Items) != 1 || list.Items[0].Name != "API_KEY" || strings.Contains(resp.body, "hunter2") {
				t.Errorf("GET %s = %s, want the name alone", base, resp.body)
			}
			for body, detail := range map[string]string{
				`{}`:                       `The field "value" is required`,
				`{"value":null}`:           `The field "value" is required`,
				`{"value":1}`:              `"value" must not be a JSON number`,
				`{"value":"x","name":"y"}`: `"name" is unknown`,
				`{"value":"a\u0000"}`:      "zero byte",
			} {
				put("OTHER", body).wantProblem(t, "PUT "+body, http.StatusBadRequest, detail)
			}
			put("A-B", `{"value":"x"}`).wantProblem(t, "PUT A-B", http.StatusBadRequest, "environment variable")
			put("WORKSPACE_ID", `{"value":"x"}`).wantProblem(t, "PUT WORKSPACE_ID", http.StatusBadRequest, "belong to the platform")
			for _, name := range []string{"NONE", "A-B", "x%00"} {
				a.do(http.MethodDelete, base+"/"+name, "").wantProblem(t, "DELETE "+name, http.StatusNotFound, "There is no secret")
			}
			if got := a.do(http.MethodDelete, base+"/API_KEY", ""); got.status != http.StatusNoContent {
				t.Errorf("DELETE %s/API_KEY = %d %s, want 204", base, got.status, got.body)
			}
		}
		for _, id := range []string{"ws_none", "x%00"} {
			path := "/v1/workspaces/" + id + "/secrets"
			a.do(http.MethodGet, path, "").wantProblem(t, "GET "+path, http.StatusNotFound, "There is no workspace")
			a.do(http.MethodPut, path+"/A", `{"value":"x"}`).wantProblem(t, "PUT "+path, http.StatusNotFound, "There is no workspace")
		}
		if strings.Contains(a.log.String(), "hunter2") {
			t.Error("a value is in the log")
		}
	})
}
