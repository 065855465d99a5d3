// Package production tests that what runs in production has nothing of
// development in it, and needs nothing of it.
package production

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/load"
	"e2e/harness/loop"
)

var update = flag.Bool("update", false, "write the golden file")

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }

// settings are what the model is rendered with.
const settings = `COMPOSE_PROJECT_NAME=golden
UID=1234
GID=1234
PLATFORM_PORT=18080
DEBUG_PORT=12345
POSTGRES_PASSWORD=golden-password
`

// devOnly are the parts of the repository that production must not need.
var devOnly = []string{
	"docker-compose.dev.yml", "workspace-server/Dockerfile.dev", "workspace-server/.air.toml",
	"devloop/cmd", "devloop/internal", "e2e", "tools", "scripts", "Makefile", ".env.example",
	".devcontainer", ".vscode", ".ci", ".github", ".editorconfig",
}

// copyOf returns a checkout with fixed settings, with or without devOnly.
func copyOf(t *testing.T, dev bool, env string) *checkout.Checkout {
	t.Helper()
	c, err := checkout.New(within(t, time.Minute), cleaner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if env != "" {
		if err := c.Write(".env", env, checkout.InPlace); err != nil {
			t.Fatal(err)
		}
	}
	if !dev {
		for _, name := range devOnly {
			if err := os.RemoveAll(c.Path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// needCompose skips a test that needs compose, though no engine, to render files.
func needCompose(t *testing.T) {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() == nil {
		return
	}
	engine.Need(t)
}

// run runs a command in a checkout and fails the test unless it succeeds.
func run(t *testing.T, c *checkout.Checkout, args ...string) string {
	t.Helper()
	code, out, err := command.Run(within(t, 8*time.Minute), command.Options{Dir: c.Dir, Run: c.Run}, args...)
	if err != nil || code != 0 {
		t.Fatalf("%v: exit code %d, %v:\n%s", args, code, err, out)
	}
	return out
}

// render returns the production model in its own order, since compose's
// differs between versions, and without the checkout's path.
func render(t *testing.T, c *checkout.Checkout) string {
	t.Helper()
	out := run(t, c, "docker", "compose", "-f", "docker-compose.yml", "config")
	var model map[string]any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(out, c.Dir, "$CHECKOUT")), &model); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(model); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestModel(t *testing.T) {
	needCompose(t)
	t.Parallel()
	const golden = "testdata/compose.golden.yml"
	got := render(t, copyOf(t, true, settings))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the production model changed: if that is meant, run \"go test ./production -update\" in e2e; now it is\n%s", got)
	}
	if alone := render(t, copyOf(t, false, settings)); alone != string(want) {
		t.Errorf("without the files of development the model is\n%s\nwant\n%s", alone, want)
	}
}

// devWords are what development brings. A word that is part of another does
// not count.
var devWords = []string{
	"air", `\.air\.toml`, "dlv", "delve", "devloop", "gopls", "WATCH_RELOAD", `Dockerfile\.dev`, "BUILD_TAGS", "DEV_CONTAINER",
	"SYS_PTRACE", "seccomp", "privileged", "bind", "/workspace", "/home/dev", "tmpfs", "dev", "development", "2345", "12345", "DEBUG_PORT", "nosqlite", `-N -l`,
}

func TestDevWords(t *testing.T) {
	needCompose(t)
	t.Parallel()
	dockerfile, err := os.ReadFile("../../workspace-server/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"the rendered model": render(t, copyOf(t, true, settings)),
		// But where an agent has its data is not where development has the sources, and
		// the server uses one package of devloop's module.
		"the Dockerfile": regexp.MustCompile(`(?m)^#.*$| /workspace$|^COPY devloop/(go\.mod|serve) \S+$`).ReplaceAllString(string(dockerfile), ""),
	}
	for name, text := range texts {
		for _, word := range devWords {
			if found := regexp.MustCompile(`(?m)^.*(^|[^\w.-])` + word + `($|[^\w.-]).*$`).FindString(text); found != "" {
				t.Errorf("%s has the word %s of development: %q", name, word, found)
			}
		}
	}
}

// TestWithoutSettings: a plain "docker compose up" tells what to run, and no
// password is made up.
func TestWithoutSettings(t *testing.T) {
	needCompose(t)
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"docker", "compose", "-f", "docker-compose.yml", "config"}, "POSTGRES_PASSWORD is missing a value: is not set, run 'make env'"},
		{[]string{"docker", "compose", "config"}, "POSTGRES_PASSWORD is missing a value: is not set, run 'make env'"},
		{[]string{"docker", "compose", "-f", "docker-compose.yml", "-f", "docker-compose.dev.yml", "config"}, "is not set, run 'make env'"},
	}
	c := copyOf(t, true, "")
	for _, tt := range tests {
		code, out, err := command.Run(within(t, time.Minute), command.Options{Dir: c.Dir, Run: c.Run}, tt.args...)
		if err != nil || code == 0 || !strings.Contains(out, tt.want) || strings.Count(strings.TrimSpace(out), "\n") > 0 {
			t.Errorf("%v: exit code %d, %v, printed %q, want an error in one line with %q", tt.args, code, err, out, tt.want)
		}
	}
}

// TestValid: every combination that is used is a valid model.
func TestValid(t *testing.T) {
	needCompose(t)
	t.Parallel()
	c := copyOf(t, true, "")
	run(t, c, "make", "env")
	prod, dev := []string{"-f", "docker-compose.yml"}, []string{"-f", "docker-compose.yml", "-f", "docker-compose.dev.yml"}
	agents := []string{"-f", "docker-compose.yml", "-f", "docker-compose.agents.yml"}
	for _, args := range [][]string{
		slices.Concat(prod, []string{"config", "-q"}),
		slices.Concat(dev, []string{"config", "-q"}),
		slices.Concat(agents, []string{"config", "-q"}),
		slices.Concat(prod, []string{"--profile", "*", "config", "-q"}),
		slices.Concat(dev, []string{"--profile", "*", "config", "-q"}),
	} {
		if out := run(t, c, append([]string{"docker", "compose"}, args...)...); out != "" {
			t.Errorf("docker compose %v printed %q, want nothing", args, out)
		}
	}
	type port struct {
		HostIP string `json:"host_ip"`
		Target int
	}
	var model struct {
		Services map[string]struct {
			Ports []port
			Init  bool
		}
	}
	out := run(t, c, slices.Concat([]string{"docker", "compose"}, dev, []string{"config", "--format", "json"})...)
	if err := json.Unmarshal([]byte(out), &model); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	seen := map[int]bool{}
	for name, s := range model.Services {
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" || seen[p.Target] {
				t.Errorf("in development %s publishes %+v, want 127.0.0.1 and each port once", name, p)
			}
			seen[p.Target] = true
		}
	}
	if !model.Services["platform"].Init {
		t.Error("in development the platform has no init, which reaps what a killed process leaves")
	}
}

// TestImage builds production from a checkout without the files of
// development and looks at the image.
func TestImage(t *testing.T) {
	engine.Need(t) // before the parallel ones, which find its layers
	ctx := within(t, 20*time.Minute)
	c := copyOf(t, false, "")
	project := strings.ToLower(filepath.Base(c.Dir))
	if err := c.Write(".env", strings.Replace(settings, "=golden\n", "="+project+"\n", 1), checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	remove(t, project)
	run(t, c, "docker", "compose", "-f", "docker-compose.yml", "--progress", "plain", "build")
	image := strings.TrimSpace(run(t, c, "docker", "compose", "-f", "docker-compose.yml", "config", "--images", "platform"))
	if strings.Contains(image, "\n") {
		for name := range strings.FieldsSeq(image) {
			if strings.HasPrefix(name, project) {
				image = name
			}
		}
	}
	if err := cleaner.Add(janitor.Image(image)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cleaner.Remove(context.Background(), janitor.Image(image)); err != nil {
			t.Error(err)
		}
	}()

	var inspected []struct {
		Size   int64
		Config struct {
			User                 string
			Env, Cmd, Entrypoint []string
			Healthcheck          struct{ Test []string }
			Volumes              map[string]any
		}
	}
	out := run(t, c, "docker", "image", "inspect", image)
	if err := json.Unmarshal([]byte(out), &inspected); err != nil || len(inspected) != 1 {
		t.Fatalf("docker image inspect %s: %v: %s", image, err, out)
	}
	got := inspected[0]
	if user := got.Config.User; user == "" || user == "root" || user == "0" {
		t.Errorf("the image's user is %q, want nonroot", user)
	}
	if test := got.Config.Healthcheck.Test; len(test) < 2 || test[0] != "CMD" {
		t.Errorf("the image's health check is %q, want the binary itself", test)
	}
	const most = 60 << 20
	if got.Size > most {
		t.Errorf("the image has %d MB, want less than %d", got.Size>>20, most>>20)
	}

	for _, name := range contents(t, ctx, image) {
		base := filepath.Base(name)
		if slices.Contains([]string{"sh", "bash", "dash", "ash", "busybox", "go", "air", "dlv", "git", "apt", "apt-get"}, base) && !strings.HasSuffix(name, "/") {
			t.Errorf("the image holds %s", name)
		}
		if strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".env") || base == ".air.toml" {
			t.Errorf("the image holds %s", name)
		}
	}
	// A mistake in the settings ends the start with a line.
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{[]string{"-e", "WATCH_RELOAD=1", "-e", "DATABASE_URL=postgres://u:secret@127.0.0.1/d"}, "WATCH_RELOAD=1 is not accepted with ENV=production"},
		{[]string{"-e", "DATABASE_URL=mysql://u:secret@127.0.0.1/d"}, "DATABASE_URL (value not shown) is not accepted"},
	} {
		args := slices.Concat([]string{"docker", "run", "--rm", "--read-only", "--network", "none"}, tt.env, []string{image})
		code, out, err := command.Run(within(t, time.Minute), command.Options{Dir: c.Dir, Run: c.Run}, args...)
		if err != nil || code == 0 || !strings.Contains(out, tt.want) || strings.Contains(out, "secret") {
			t.Errorf("%v: exit code %d, %v, printed %q, want an error with %q and no password", args, code, err, out, tt.want)
		}
	}
}

// remove ensures that nothing of a project stays.
func remove(t *testing.T, project string) {
	t.Helper()
	if err := cleaner.Add(janitor.Project(project)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cleaner.Remove(context.Background(), janitor.Project(project)); err != nil {
			t.Error(err)
		}
	})
}

// contents lists an image's files.
func contents(t *testing.T, ctx context.Context, image string) []string {
	t.Helper()
	id, err := engine.Docker(ctx, "create", image)
	if err != nil {
		t.Fatal(err)
	}
	id = strings.TrimSpace(id)
	defer func() {
		if _, err := engine.Docker(context.Background(), "rm", "-f", id); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(ctx, "docker", "export", id)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(stdout); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	_, _ = io.Copy(io.Discard, stdout) // what follows the archive's end
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return names
}

// A mount is one of a container's, as the engine tells it.
type mount struct {
	Type, Destination string
	RW                bool
}

// onlyState reports whether nothing but the state can be written.
func onlyState(mounts []mount) bool {
	return slices.ContainsFunc(mounts, func(m mount) bool {
		return m.Type == "volume" && m.Destination == "/var/lib/workspace-server"
	}) && !slices.ContainsFunc(mounts, func(m mount) bool {
		certificates := m.Destination == "/run/secrets/ca" && !m.RW
		return m.Destination != "/var/lib/workspace-server" && !certificates
	})
}

// TestUp runs production as an operator does.
func TestUp(t *testing.T) {
	engine.Need(t)
	t.Parallel()
	ctx := within(t, 20*time.Minute)
	l := loop.ForTest(ctx, t, cleaner, loop.Container)
	up := func() {
		t.Helper()
		began := time.Now()
		code, out, err := l.Make(ctx, "up")
		if err != nil || code != 0 {
			t.Fatalf("make up: exit code %d, %v:\n%s", code, err, out)
		}
		t.Logf("report: make up in %.1fs", time.Since(began).Seconds())
		if want := fmt.Sprintf("http://127.0.0.1:%d", l.Port); !strings.Contains(out, want) {
			t.Errorf("make up printed %q, want %s in it", out, want)
		}
		ready, err := l.Ready(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ready.Database.Driver != "postgres" {
			t.Errorf("GET /readyz = %+v, want postgres", ready)
		}
	}
	up()
	id, err := l.ContainerID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var platform []struct {
		Config     struct{ User string }
		HostConfig struct {
			ReadonlyRootfs, Privileged   bool
			CapAdd, CapDrop, SecurityOpt []string
		}
		Mounts []mount
		State  struct{ Health struct{ Status string } }
	}
	out, err := engine.Docker(ctx, "inspect", id)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &platform); err != nil {
		t.Fatal(err)
	}
	p := platform[0]
	h := p.HostConfig
	if !h.ReadonlyRootfs || h.Privileged || len(h.CapAdd) > 0 || !slices.Equal(h.CapDrop, []string{"ALL"}) ||
		!onlyState(p.Mounts) {
		t.Errorf("the platform runs with %+v and mounts %+v, want a read-only root, no capabilities, and a volume for its state alone, beside certificates", h, p.Mounts)
	}
	if p.State.Health.Status != "healthy" {
		t.Errorf("the platform is %q, want healthy", p.State.Health.Status)
	}
	if _, err := engine.Docker(ctx, "exec", id, "/bin/sh", "-c", "true"); err == nil {
		t.Error("the platform has a shell")
	}
	uid, err := engine.Docker(ctx, "top", id, "-eo", "pid,uid")
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(uid); len(f) < 4 || f[3] == "0" || f[3] == "root" {
		t.Errorf("docker top: %q, want another user than root", uid)
	}
	published, err := engine.Docker(ctx, "ps", "--filter", "label=com.docker.compose.project="+l.Project, "--format", "{{.Label \"com.docker.compose.service\"}} {{.Ports}}")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(published) {
		service, ports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(ports, "->") && (service != "platform" || !strings.HasPrefix(ports, "127.0.0.1:")) {
			t.Errorf("%s publishes %s, want the platform alone, on 127.0.0.1", service, ports)
		}
	}

	// It carries its own templates and plugins, and keeps its data.
	token, err := l.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status, body, err := load.Get(ctx, l.Addr(), "/v1/templates"); err != nil || status != 401 {
		t.Errorf("GET /v1/templates without a token: status %d, %v: %s, want 401", status, err, body)
	}
	other, err := engine.Docker(ctx, "exec", id, "/workspace-server", "token", "create", "-name", "operator")
	if err != nil {
		t.Fatal(err)
	}
	if status, body, err := load.GetAs(ctx, strings.TrimSpace(other), l.Addr(), "/v1/tokens"); err != nil || status != 200 || !strings.Contains(string(body), "operator") {
		t.Errorf("GET /v1/tokens with a token of the command: status %d, %v: %s, want it listed", status, err, body)
	}
	status, body, err := load.GetAs(ctx, token, l.Addr(), "/v1/templates")
	if err != nil || status != 200 || !strings.Contains(string(body), "triage") {
		t.Errorf("GET /v1/templates: status %d, %v: %s, want the templates of the repository", status, err, body)
	}
	status, body, err = load.GetAs(ctx, token, l.Addr(), "/v1/plugins")
	if err != nil || status != 200 || !strings.Contains(string(body), "release-notes") {
		t.Errorf("GET /v1/plugins: status %d, %v: %s, want the plugins of the repository", status, err, body)
	}
	// In production a token may send 100 requests a second.
	running, err := l.Load(ctx, load.Options{Pace: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for running.Answered() < 50 && running.Failures() == 0 && ctx.Err() == nil {
		<-time.After(10 * time.Millisecond)
	}
	report := running.Stop()
	for _, f := range report.Failures {
		t.Errorf("under load: %s", f)
	}
	if code, out, err := l.Make(ctx, "down"); err != nil || code != 0 {
		t.Fatalf("make down: exit code %d, %v: %s", code, err, out)
	}
	left, err := engine.Of(ctx, l.Project, "container", "network")
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("make down leaves %v", left)
	}
	// The loop has other data, and other tokens.
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if status, body, err := load.GetAs(ctx, token, l.Addr(), "/v1/workspaces?limit=1"); err != nil || status != 401 {
		t.Errorf("GET /v1/workspaces of the loop, as in production: status %d, %v: %s, want 401", status, err, body)
	}
	if _, err := l.Interrupt(ctx); err != nil {
		t.Fatal(err)
	}
	up()
	status, body, err = load.GetAs(ctx, token, l.Addr(), "/v1/workspaces?limit=1")
	if err != nil || status != 200 || !strings.Contains(string(body), "ws_") {
		t.Errorf("GET /v1/workspaces after down, make dev and up: status %d, %v: %s, want what was made before", status, err, body)
	}
}
