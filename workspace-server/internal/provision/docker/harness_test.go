package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/provision"
)

// host is a real engine with an image of the agent in testdata.
type host struct {
	*engine
	address string
	image   string
}

// needEngine skips the test if there is no engine, and fails it with
// REQUIRE_DOCKER=1. With -short it skips the test in any case.
func needEngine(t *testing.T) *host {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containers, which -short leaves out")
	}
	h := &host{address: os.Getenv("DOCKER_HOST")}
	engine, err := dial(h.address, oldestWithSubpath)
	if err == nil {
		t.Cleanup(engine.http.CloseIdleConnections)
		err = engine.call(t.Context(), http.MethodGet, "/_ping", nil, nil, nil)
	}
	switch {
	case err == nil:
	case os.Getenv("REQUIRE_DOCKER") == "1":
		t.Fatalf("REQUIRE_DOCKER=1, but no Docker engine can be used: %v", err)
	default:
		t.Skipf("needs a Docker engine: %v", err)
	}
	h.engine = engine
	h.image = h.build(t)
	return h
}

// build imports an image from nothing but the agent, and removes it in the end.
func (h *host) build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "agent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./testdata/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	return h.importImage(t, "/agent", map[string]string{"agent": string(text), "workspace/": ""})
}

// importImage makes an image of files, and removes it after the test.
func (h *host) importImage(t *testing.T, entrypoint string, files map[string]string) string {
	t.Helper()
	name := "workspace-server-test-" + strings.ToLower(rand.Text())
	h.do(t, http.MethodPost, "/images/create", url.Values{
		"fromSrc": {"-"}, "repo": {name}, "tag": {"1"},
		"changes": {fmt.Sprintf("ENTRYPOINT [%q]", entrypoint), "USER 65532:65532"},
	}, archive(t, files))
	t.Cleanup(func() { h.do(t, http.MethodDelete, "/images/"+name+":1", url.Values{"force": {"1"}}, nil) })
	return name + ":1"
}

// archive returns files, and directories whose names end in a slash, that
// belong to the image's user.
func archive(t *testing.T, files map[string]string) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Uid: 65532, Gid: 65532, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}

// do calls the engine as the driver does not, even when the test is over.
func (h *host) do(t *testing.T, method, path string, query url.Values, body io.Reader) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.base+"/v"+h.version+path+"?"+query.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.Contains(path, "/archive") {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	resp, err := h.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 400 {
		t.Errorf("%s %s: %d %v %s", method, path, resp.StatusCode, err, text)
	}
	return text
}

// post sends JSON and returns the id of what was made.
func (h *host) post(t *testing.T, path string, query url.Values, body any) string {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID string `json:"Id"`
	}
	if out := h.do(t, http.MethodPost, path, query, bytes.NewReader(text)); len(out) > 0 {
		if err := json.Unmarshal(out, &made); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	return made.ID
}

// installation returns a driver of a new installation, which is gone in the end.
func (h *host) installation(t *testing.T, change ...func(*Settings)) *Driver {
	t.Helper()
	settings := Settings{Host: h.address, Installation: "test-" + strings.ToLower(rand.Text()), Image: h.image}
	for _, c := range change {
		c(&settings)
	}
	p, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.clean(t, settings.Installation)
		p.Close()
	})
	return p
}

// clean removes what an installation left: containers, volumes and networks.
func (h *host) clean(t *testing.T, installation string) {
	t.Helper()
	labelled := url.Values{"all": {"1"}, "filters": {fmt.Sprintf(`{"label":[%q]}`, labelInstallation+"="+installation)}}
	type thing struct {
		ID   string `json:"Id"`
		Name string
	}
	var containers, networks []thing
	var volumes struct{ Volumes []thing }
	for path, list := range map[string]any{"/containers/json": &containers, "/networks": &networks, "/volumes": &volumes} {
		if err := json.Unmarshal(h.do(t, http.MethodGet, path, labelled, nil), list); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	// Containers first, since they use the others.
	for _, c := range containers {
		h.do(t, http.MethodDelete, "/containers/"+c.ID, url.Values{"force": {"1"}, "v": {"1"}}, nil)
	}
	for _, v := range volumes.Volumes {
		h.do(t, http.MethodDelete, "/volumes/"+v.Name, nil, nil)
	}
	for _, n := range networks {
		h.do(t, http.MethodDelete, "/networks/"+n.ID, nil, nil)
	}
}

// spec is of a workspace whose files everyone may read and write.
func spec(t *testing.T, name string) provision.Spec {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "configs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, fs.ModePerm); err != nil {
		t.Fatal(err)
	}
	return provision.Spec{Workspace: name, Generation: 1, Tier: 1, Configs: dir}
}

func start(t *testing.T, p *Driver, spec provision.Spec) provision.Instance {
	t.Helper()
	i, err := p.Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("Start(%s, %d) = %v", spec.Workspace, spec.Generation, err)
	}
	return i
}

// wait returns the instance once it has exited.
func wait(t *testing.T, p *Driver, name string) provision.Instance {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		i, err := p.Inspect(t.Context(), name)
		if err != nil {
			t.Fatalf("Inspect(%s) = %v", name, err)
		}
		if i.State == provision.Exited {
			return i
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still runs after a minute: %+v", name, i)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ask sends a request to an agent, once it listens.
func ask(t *testing.T, i provision.Instance, method, path, body string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	for deadline := time.Now().Add(time.Minute); ; {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+i.Address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			if time.Now().After(deadline) {
				t.Fatalf("%+v: %v", i, err)
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
}

// read returns a file as it is inside.
func read(t *testing.T, i provision.Instance, path string) string {
	t.Helper()
	code, text := ask(t, i, http.MethodGet, "/file?path="+url.QueryEscape(path), "")
	if code != http.StatusOK {
		t.Errorf("read %s inside: %d %s", path, code, text)
	}
	return text
}

// logsOf returns what was written until now.
func logsOf(t *testing.T, p *Driver, name string, tail int) string {
	t.Helper()
	logs, err := p.Logs(t.Context(), name, tail, false)
	if err != nil {
		t.Fatalf("Logs(%s) = %v", name, err)
	}
	defer logs.Close()
	text, err := io.ReadAll(logs)
	if err != nil {
		t.Errorf("logs of %s: %v", name, err)
	}
	return string(text)
}
