package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"workspace-server/internal/files"
	"workspace-server/internal/token"
	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("w")
		base := "/v1/workspaces/" + w.ID + "/files"
		own := "Authorization: Bearer " + string(a.token(token.Spec{Role: token.Workspace, Workspace: w.ID}))
		put := func(path, body string, headers ...string) answer {
			return a.do(http.MethodPut, base+"/"+path, body, headers...)
		}
		if got := a.do(http.MethodGet, base, ""); got.status != 200 || got.body != `{"items":[],"complete":true}`+"\n" {
			t.Errorf("GET of no files = %d %s", got.status, got.body)
		}
		var first files.File
		made := put("prompts/system.md", "Be brief.\r\n", "Content-Type: text/markdown", "If-None-Match: *")
		made.decodeInto(t, &first)
		if made.status != http.StatusCreated || first.Path != "prompts/system.md" || first.Size != 11 || made.header.Get("ETag") != first.ETag || first.ETag == "" {
			t.Errorf("PUT = %d %s, ETag %s", made.status, made.body, made.header.Get("ETag"))
		}
		var list files.Listing
		a.do(http.MethodGet, base, "", own).decodeInto(t, &list)
		if len(list.Items) != 1 || list.Items[0] != first {
			t.Errorf("GET %s = %+v, want %+v", base, list, first)
		}
		got := a.do(http.MethodGet, base+"/prompts/system.md", "", own)
		if got.status != 200 || got.body != "Be brief.\r\n" || got.header.Get("ETag") != first.ETag {
			t.Errorf("GET = %d %q, ETag %s, want what was put", got.status, got.body, got.header.Get("ETag"))
		}
		for name, want := range map[string]string{
			"Content-Type": "text/plain; charset=utf-8", "Content-Disposition": "attachment; filename=system.md",
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Length": "11",
		} {
			if got.header.Get(name) != want {
				t.Errorf("GET: the header %s is %q, want %q", name, got.header.Get(name), want)
			}
		}
		if head := a.do(http.MethodHead, base+"/prompts/system.md", ""); head.status != 200 || head.body != "" || head.header.Get("ETag") != first.ETag {
			t.Errorf("HEAD = %d %q", head.status, head.body)
		}
		if got := a.do(http.MethodGet, base+"/prompts/system.md", "", "If-None-Match: W/"+first.ETag); got.status != http.StatusNotModified || got.body != "" {
			t.Errorf("GET with the tag = %d %q, want 304", got.status, got.body)
		}
		put("prompts/system.md", "x", "If-None-Match: *").wantProblem(t, "PUT of what is there", http.StatusPreconditionFailed, "already")
		put("prompts/system.md", "x", `If-Match: "other"`).wantProblem(t, "PUT with another tag", http.StatusPreconditionFailed, "not the one that this request expects")
		put("prompts/system.md", "x", `If-Match: other`).wantProblem(t, "PUT with no tag", http.StatusBadRequest, "entity tags")
		if got := put("prompts/system.md", "x", "If-Match: "+first.ETag); got.status != http.StatusOK || got.header.Get("ETag") == first.ETag {
			t.Errorf("PUT with the tag = %d %s, want 200 and another tag", got.status, got.body)
		}
		put("a", "x", "Content-Range: bytes 0-0/2").wantProblem(t, "PUT of a part", http.StatusBadRequest, "whole file")
		put("a", strings.Repeat("x", tree.MaxFile+1)).wantProblem(t, "PUT of too much", http.StatusRequestEntityTooLarge, "1024 KiB")
		if got := put("largest", strings.Repeat("x", tree.MaxFile)); got.status != http.StatusCreated {
			t.Errorf("PUT of 1 MiB = %d %s, want 201", got.status, got.body)
		}
		for path, kind := range map[string]string{"a.html": "text/plain; charset=utf-8", "b.svg": "application/octet-stream", "%C3%BC %22x%22": "application/octet-stream"} {
			put(path, "<script>")
			got := a.do(http.MethodGet, base+"/"+path, "")
			if got.status != 200 || got.body != "<script>" || got.header.Get("Content-Type") != kind || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment; filename") {
				t.Errorf("GET %s = %d of type %s, %s", path, got.status, got.header.Get("Content-Type"), got.header.Get("Content-Disposition"))
			}
		}
		a.do(http.MethodDelete, base+"/a.html", "", "If-Match: "+first.ETag).wantProblem(t, "DELETE with another tag", http.StatusPreconditionFailed, "not the one that this request expects")
		if got := a.do(http.MethodDelete, base+"/a.html", ""); got.status != http.StatusNoContent {
			t.Errorf("DELETE = %d %s, want 204", got.status, got.body)
		}
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			a.do(method, base+"/a.html", "").wantProblem(t, method+" of nothing", http.StatusNotFound, `no file "a.html"`)
		}
		for _, id := range []string{"ws_none", "x%00", "..", "%2e%2e"} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				if got := a.do(method, "/v1/workspaces/"+id+"/files/a", ""); got.status != http.StatusNotFound {
					t.Errorf("%s of workspace %q = %d %s, want 404", method, id, got.status, got.body)
				}
			}
		}
	})
}

// TestFilePaths sends paths unchanged, unlike a browser, which cleans them.
func TestFilePaths(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("w")
		dir, err := a.files.Make(w.ID)
		if err != nil {
			t.Fatal(err)
		}
		secret := filepath.Join(filepath.Dir(dir), "secret")
		if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
			t.Fatal(err)
		}
		base := "/v1/workspaces/" + w.ID + "/files/"
		for _, path := range []string{
			"..", "../", "../secret", "%2e%2e/secret", "..%2fsecret", "%2e%2e%2fsecret", "a/..%2f../secret", "%2fetc%2fpasswd", "/etc/passwd", `..%5csecret`, "a%00",
			".", "%2e", "a%2f%2fb", "%c0%ae%c0%ae/secret", "%ff", "", "%2f", strings.Repeat("x", 300),
		} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				got := a.do(method, base+path, "")
				if got.status != http.StatusBadRequest && got.status != http.StatusNotFound || strings.Contains(got.body, "hunter2") {
					t.Errorf("%s %s = %d %s, want 400 or 404", method, path, got.status, got.body)
				}
			}
		}
		if got := a.do(http.MethodGet, "/v1/workspaces/"+w.ID, ""); got.status != http.StatusOK {
			t.Errorf("after all that the workspace = %d %s, want it as it was", got.status, got.body)
		}
		// Another escaping of an escape is a name like others.
		if got := a.do(http.MethodPut, base+"%252e%252e%252fsecret", "x"); got.status != http.StatusCreated || !strings.Contains(got.body, `"%2e%2e%2fsecret"`) {
			t.Errorf("PUT of a name with percent signs = %d %s, want it as a name", got.status, got.body)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != "hunter2" {
			t.Errorf("what is beside the files is %q, %v", text, err)
		}
	})
}

// deletedMeanwhile deletes the workspace, with its files, while one is written.
type deletedMeanwhile struct {
	files.Dir
	remove func(id string)
}

func (d deletedMeanwhile) Write(id, path string, body []byte, cond files.Condition) (files.File, bool, error) {
	d.remove(id)
	return d.Dir.Write(id, path, body, cond)
}

func TestFileOfAWorkspaceThatGoes(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("w")
		h := &api{Deps: Deps{Workspaces: a.store, Files: deletedMeanwhile{a.files, func(id string) {
			if err := a.store.Delete(t.Context(), id, workspace.Refuse, false, nil); err != nil {
				t.Error(err)
			}
			if err := a.files.Remove(id); err != nil {
				t.Error(err)
			}
		}}}}
		mux := http.NewServeMux()
		mux.Handle("PUT /{id}/{path...}", handler(h.putFile))
		srv := httptest.NewServer(&edge{mux: mux, log: slog.New(slog.DiscardHandler)})
		defer srv.Close()
		other := *a
		other.url = srv.URL
		other.do(http.MethodPut, "/"+w.ID+"/a", "x").wantProblem(t, "PUT", http.StatusNotFound, "There is no workspace")
		dir, err := a.files.List(w.ID)
		if err != nil || len(dir.Items) != 0 {
			t.Errorf("a file is left of a workspace that is gone: %+v, %v", dir, err)
		}
	})
}
