package production

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/loop"
	"e2e/harness/postgres"
)

// agents is production with workspaces in containers.
type agents struct {
	*loop.Loop
	installation string
	token        string
}

// upWithAgents starts it as an operator does who has chosen it.
func upWithAgents(t *testing.T, ctx context.Context) *agents {
	t.Helper()
	l := loop.ForTest(ctx, t, cleaner, loop.Container)
	if err := l.Checkout.Replace(".env", "AGENTS=0\n", "AGENTS=1\n", checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	a := &agents{Loop: l}
	a.make(t, ctx, "up")
	a.installation = strings.TrimSpace(a.compose(t, "exec", "-T", "postgres", "psql", "-U", "platform", "-Atc", "SELECT id FROM installation"))
	// The project is the first to go: a platform would start its agents again.
	for _, thing := range []janitor.Thing{janitor.Installation(a.installation), janitor.Project(l.Project)} {
		if err := cleaner.Add(thing); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, thing := range []janitor.Thing{janitor.Project(l.Project), janitor.Installation(a.installation)} {
			if err := cleaner.Remove(context.Background(), thing); err != nil {
				t.Error(err)
			}
		}
	})
	var err error
	if a.token, err = l.Token(ctx); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *agents) make(t *testing.T, ctx context.Context, target string) {
	t.Helper()
	if code, out, err := a.Make(ctx, target); err != nil || code != 0 {
		t.Fatalf("make %s: exit code %d, %v:\n%s", target, code, err, out)
	}
}

func (a *agents) compose(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, a.Checkout, slices.Concat([]string{"docker", "compose", "-f", "docker-compose.yml", "-f", "docker-compose.agents.yml"}, args)...)
}

// request sends an administrator's request.
func (a *agents) request(ctx context.Context, method, path, kind, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.Addr()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if body != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// ask sends a message to a workspace's agent until it is answered.
func (a *agents) ask(t *testing.T, ctx context.Context, id, text string) string {
	t.Helper()
	message := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"kind":"message","role":"user","messageId":"m","parts":[{"kind":"text","text":%q}]}}}`, text)
	var answer string
	eventually(t, ctx, "the agent answers", func() (bool, string) {
		status, body, err := a.request(ctx, http.MethodPost, "/v1/workspaces/"+id+"/a2a", "application/json", message)
		answer = body
		return err == nil && status == http.StatusOK && strings.Contains(body, "I was told: "+text), fmt.Sprint(status, " ", body, " ", err)
	})
	return answer
}

// container is what the tests look at in one.
type container struct {
	ID     string `json:"Id"`
	Name   string
	Config struct {
		User   string
		Labels map[string]string
		Env    []string
	}
	State      struct{ Running bool }
	HostConfig struct {
		ReadonlyRootfs, Privileged bool
		CapDrop, GroupAdd          []string
	}
	Mounts          []struct{ Type, Name, Source, Destination string }
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

func inspect(t *testing.T, ctx context.Context, id string) container {
	t.Helper()
	out, err := engine.Docker(ctx, "inspect", "--type", "container", id)
	if err != nil {
		t.Fatal(err)
	}
	var found []container
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 {
		t.Fatalf("docker inspect %s: %v: %s", id, err, out)
	}
	return found[0]
}

// left lists what the engine has for the workspaces, of one kind or of all.
func (a *agents) left(t *testing.T, ctx context.Context, kind string) []string {
	t.Helper()
	found, err := engine.Agents(ctx, a.installation)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(thing string) bool { return !strings.HasPrefix(thing, kind) })
}

// only returns the one agent that there is.
func (a *agents) only(t *testing.T, ctx context.Context) container {
	t.Helper()
	found := a.left(t, ctx, "container ")
	if len(found) != 1 {
		t.Fatalf("the engine has %v for the workspaces, want one container", found)
	}
	return inspect(t, ctx, strings.TrimPrefix(found[0], "container "))
}

func eventually(t *testing.T, ctx context.Context, what string, ok func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for {
		done, now := ok()
		if done {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("not in time: %s; at last: %s", what, now)
		}
	}
}

// TestAgents runs a workspace in a container, from its creation to its end.
func TestAgents(t *testing.T) {
	engine.Need(t)
	t.Parallel()
	ctx := within(t, 20*time.Minute)
	a := upWithAgents(t, ctx)
	platform, err := a.ContainerID(ctx)
	if err != nil {
		t.Fatal(err)
	}

	out := a.compose(t, "exec", "-T", "platform", "/workspace-server", "ws", "create", "agent", "--start", "--wait")
	id := regexp.MustCompile(`ws_\w+`).FindString(out)
	if id == "" || !strings.Contains(out, "agent is running") {
		t.Fatalf("ws create --start --wait printed %q, want an id, and that it runs", out)
	}
	first := a.only(t, ctx)
	a.confined(t, ctx, first)
	a.noDatabase(t, ctx, platform, first)

	// What is edited is there at once, in the container that runs.
	if answer := a.ask(t, ctx, id, "hello"); strings.Contains(answer, "notes.md") {
		t.Errorf("before the edit the agent answers %s", answer)
	}
	status, body, err := a.request(ctx, http.MethodPut, "/v1/workspaces/"+id+"/files/notes.md", "application/octet-stream", "Say it in one line.\n")
	if err != nil || status != http.StatusCreated {
		t.Fatalf("PUT notes.md: status %d, %v: %s", status, err, body)
	}
	if answer := a.ask(t, ctx, id, "and now"); !strings.Contains(answer, "My instructions in notes.md: Say it in one line.") {
		t.Errorf("after the edit the agent answers %s", answer)
	}

	// The server comes and goes, the agent stays.
	if _, err := engine.Docker(ctx, "restart", platform); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	a.ask(t, ctx, id, "still there?")
	if now := a.only(t, ctx); now.ID != first.ID || !now.State.Running {
		t.Errorf("after the platform's restart the agent's container is %s, running %v; want %s", now.ID, now.State.Running, first.ID)
	}

	// An agent that ends is started again.
	if _, err := engine.Docker(ctx, "kill", first.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "another container runs", func() (bool, string) {
		found := a.left(t, ctx, "container ")
		return len(found) == 1 && !strings.HasPrefix(first.ID, strings.TrimPrefix(found[0], "container ")), fmt.Sprint(found)
	})
	a.ask(t, ctx, id, "back again?")

	// Nothing runs after "make down", and all goes on after "make up", with what
	// the agent has kept.
	if _, err := engine.Docker(ctx, "cp", "agents_test.go", a.only(t, ctx).ID+":/workspace/kept"); err != nil {
		t.Fatal(err)
	}
	a.make(t, ctx, "down")
	left, err := engine.Of(ctx, a.Project, "container", "network")
	if err != nil {
		t.Fatal(err)
	}
	if left = append(left, a.left(t, ctx, "container ")...); len(left) > 0 {
		t.Errorf("make down leaves %v", left)
	}
	if volumes := a.left(t, ctx, "volume "); len(volumes) != 1 {
		t.Errorf("make down leaves the volumes %v of the workspaces, want the one", volumes)
	}
	a.make(t, ctx, "up")
	if answer := a.ask(t, ctx, id, "up?"); !strings.Contains(answer, "Say it in one line.") {
		t.Errorf("after down and up the agent answers %s", answer)
	}
	if _, err := engine.Docker(ctx, "cp", a.only(t, ctx).ID+":/workspace/kept", "-"); err != nil {
		t.Error(err)
	}

	// A workspace that is deleted leaves nothing.
	a.compose(t, "exec", "-T", "platform", "/workspace-server", "ws", "delete", "agent")
	eventually(t, ctx, "container and volume are gone", func() (bool, string) {
		left := a.left(t, ctx, "")
		return len(left) == 0, fmt.Sprint(left)
	})
}

// confined checks what an agent's container has, and has not.
func (a *agents) confined(t *testing.T, ctx context.Context, c container) {
	t.Helper()
	h := c.HostConfig
	if c.Config.User != "nonroot" || !h.ReadonlyRootfs || h.Privileged || !slices.Equal(h.CapDrop, []string{"ALL"}) || len(h.GroupAdd) > 0 {
		t.Errorf("an agent runs as %q with %+v, want nonroot, a read-only root, and no capabilities or groups", c.Config.User, h)
	}
	for _, m := range c.Mounts {
		if m.Type == "bind" || strings.Contains(m.Source, "docker.sock") || m.Type == "volume" && m.Destination != "/configs" && m.Destination != "/workspace" {
			t.Errorf("an agent has the mount %+v, want its data and its files alone", m)
		}
	}
	for _, variable := range c.Config.Env {
		if strings.HasPrefix(variable, "DATABASE_URL=") || strings.Contains(variable, "postgres") {
			t.Error("an agent's environment names the database")
		}
	}
	out, err := engine.Docker(ctx, "cp", c.ID+":/workspace", "-")
	if err != nil {
		t.Fatal(err)
	}
	data, err := tar.NewReader(bytes.NewReader([]byte(out))).Next()
	if err != nil {
		t.Fatal(err)
	}
	const nonroot = 65532
	if data.Uid != nonroot || data.FileInfo().Mode().Perm() != 0o755 {
		t.Errorf("/workspace in an agent is of user %d and has mode %v, want nonroot's %d and 0755", data.Uid, data.FileInfo().Mode().Perm(), nonroot)
	}
}

// noDatabase checks that an agent reaches Postgres neither by name nor by address,
// with a program that the platform's container reaches it with.
func (a *agents) noDatabase(t *testing.T, ctx context.Context, platform string, c container) {
	t.Helper()
	database := a.Project + "_database"
	if _, there := c.NetworkSettings.Networks[database]; there || len(c.NetworkSettings.Networks) != 1 {
		t.Errorf("an agent is on the networks %v, want one, and not the database's", c.NetworkSettings.Networks)
	}
	id := strings.TrimSpace(a.compose(t, "ps", "-q", "postgres"))
	address := inspect(t, ctx, id).NetworkSettings.Networks[database].IPAddress
	if address == "" {
		t.Fatalf("Postgres has no address on %s", database)
	}
	for _, host := range []string{"postgres", address} {
		for from, want := range map[string]bool{platform: true, c.ID: false} {
			args := []string{"docker", "run", "--rm", "--network", "container:" + from, postgres.Image, "pg_isready", "-t", "3", "-h", host}
			code, out, err := command.Run(ctx, command.Options{Dir: a.Checkout.Dir, Run: a.Checkout.Run}, args...)
			if err != nil || (code == 0) != want || strings.Contains(out, "accepting connections") != want || !strings.Contains(out, host) {
				t.Errorf("%v: exit code %d, %v, printed %q; want reached: %v", args, code, err, out, want)
			}
		}
	}
}
