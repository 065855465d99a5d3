package doors

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/devcontainer"
	"e2e/harness/engine"
	"e2e/harness/loop"
)

// TestDoors opens two checkouts at once, each through every door. They belong to
// different users, if this user may give files away.
func TestDoors(t *testing.T) {
	t.Parallel()
	cli := devcontainer.Need(t, within(t, 2*time.Minute), cleaner)
	ids := make(chan string, 2)
	t.Run("both", func(t *testing.T) {
		t.Run("editor-first", func(t *testing.T) {
			t.Parallel()
			editorFirst(build(t, cli), ids)
		})
		t.Run("terminal-first", func(t *testing.T) {
			t.Parallel()
			if os.Getuid() != 0 {
				t.Run("another owner", func(t *testing.T) { t.Skip("only root can give a checkout to another user") })
				terminalFirst(build(t, cli), ids)
				return
			}
			terminalFirst(build(t, cli, give), ids)
		})
	})
	close(ids)
	seen := map[string]bool{}
	for id := range ids {
		seen[id] = true
	}
	if len(seen) != 2 {
		t.Errorf("two checkouts have the containers %v, want one each", slices.Sorted(maps.Keys(seen)))
	}
}

// editorFirst: what a codespace does, from its prebuild on, or an editor.
func editorFirst(h *house, ids chan<- string) {
	if code, out, err := h.cli.Run(h.ctx, h.Checkout, "read-configuration"); err != nil || code != 0 || !strings.Contains(out, `"service":"platform"`) {
		h.Errorf("devcontainer read-configuration: exit code %d, %v: %s", code, err, out)
	}
	prebuilt := h.open(devcontainer.How{Args: []string{"--prebuild"}})
	id := prebuilt.ContainerID
	ids <- id
	h.is("the prebuild", id, "running")
	// All that a developer needs first is there now.
	for _, module := range []string{"workspace-server", "devloop", "e2e", "tools", "tools/dockerlint"} {
		if out, err := h.Exec(h.ctx, "env", "-C", module, "GOPROXY=off", "go", "mod", "download"); err != nil {
			h.Errorf("the prebuild does not download all modules of %s: %v: %s", module, err, out)
		}
	}
	if opened := h.open(devcontainer.How{}); opened.ContainerID != id {
		h.Errorf("up after the prebuild opens %s, want %s", opened.ContainerID, id)
	}
	h.terminal()
	h.debugger()
	h.inside()

	h.start()
	h.is("make dev", id, "running")
	h.edit()
	h.interrupt()
	h.is("Ctrl-C in a view of it", id, "running")
	h.unbreakable(id)
	h.mine("work in the container")

	if _, err := engine.Docker(h.ctx, "stop", id); err != nil {
		h.Fatal(err)
	}
	if code := h.inspect("{{.State.ExitCode}}"); code != "0" {
		h.Errorf("docker stop ends the container with exit code %s, want 0: it was killed", code)
	}
	h.start()
	h.is("make dev on a stopped one", id, "running")
	h.edit()
	h.interrupt()
	h.is("Ctrl-C where it was started", id, "exited")
	h.open(devcontainer.How{})
	h.is("up on a stopped one", id, "running")

	// As VS Code does, which keeps its own things in a volume.
	volume := h.Project + "-editor"
	if _, err := engine.Docker(h.ctx, "volume", "create", "--label", "com.docker.compose.project="+h.Project, volume); err != nil {
		h.Fatal(err)
	}
	rebuilt := h.open(devcontainer.How{Args: []string{
		"--remove-existing-container", "--mount", "type=volume,source=" + volume + ",target=/editor,external=true",
	}})
	if rebuilt.ContainerID == id {
		h.Errorf("Rebuild Container keeps %s", id)
	}
	if mounts := h.inspect("{{range .Mounts}}{{.Destination}} {{end}}"); !strings.Contains(mounts, "/editor") {
		h.Errorf("Rebuild Container makes one with %s mounted, want the editor's volume among them", mounts)
	}
	if _, err := engine.Docker(h.ctx, "stop", rebuilt.ContainerID); err != nil {
		h.Fatal(err)
	}
	h.start()
	h.is("make dev after Rebuild Container", rebuilt.ContainerID, "running")
	h.interrupt()

	// With all caches warm, nothing must be downloaded.
	if code, out, err := h.Make(h.ctx, "down"); err != nil || code != 0 {
		h.Fatalf("make down: exit code %d, %v: %s", code, err, out)
	}
	opened := h.open(cut(h.T))
	h.is("up without a network", opened.ContainerID, "running")
	if _, err := h.Ready(h.ctx); err != nil {
		h.Error(err)
	}
	h.mine("a new container on old caches")
}

// give makes a second user the owner of a checkout, whose group is that of macOS,
// which Debian has for others.
func give(l *loop.Loop) error {
	const uid, gid = 1001, 20
	env, err := l.Checkout.Read(".env")
	if err != nil {
		return err
	}
	env = regexp.MustCompile(`(?m)^[UG]ID=.*\n`).ReplaceAllString(env, "")
	if err := l.Checkout.Write(".env", env, checkout.InPlace); err != nil {
		return err
	}
	l.Checkout.Accept()
	return l.Checkout.Give(uid, gid)
}

// terminalFirst: an editor opens what make dev runs.
func terminalFirst(h *house, ids chan<- string) {
	h.start()
	id, err := h.ContainerID(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	h.work("make dev")
	image := h.inspect("{{.Image}}")
	opened := h.open(devcontainer.How{})
	ids <- opened.ContainerID
	if !strings.HasPrefix(opened.ContainerID, id) {
		h.Errorf("up opens %s, want %s, which make dev started", opened.ContainerID, id)
	}
	h.is("up", opened.ContainerID, "running")
	if regexp.MustCompile(`docker compose .* (build|create|up)\b`).MatchString(opened.Log) || strings.Contains(opened.Log, "building the dev image") {
		h.Errorf("up builds or starts what runs already:\n%s", opened.Log)
	}
	h.edit()
	n := h.NextEdit()
	h.editInside(n)

	h.interrupt()
	h.is("Ctrl-C where it was started", opened.ContainerID, "exited")
	h.open(devcontainer.How{})
	h.is("up on a stopped one", opened.ContainerID, "running")
	if now := h.inspect("{{.Image}}"); now != image {
		h.Errorf("the container's image is %s after up, want still %s", now, image)
	}
	h.start()
	h.is("make dev while an editor has it", opened.ContainerID, "running")
	h.interrupt()
	h.mine("both doors")

	// A developer changes a port that is taken in .env; the container with the old
	// one must go.
	if _, err := engine.Docker(h.ctx, "stop", opened.ContainerID); err != nil {
		h.Fatal(err)
	}
	ports, err := checkout.Ports(1)
	if err != nil {
		h.Fatal(err)
	}
	if err := h.Checkout.Replace(".env", "PLATFORM_PORT="+strconv.Itoa(h.Port), "PLATFORM_PORT="+strconv.Itoa(ports[0]), checkout.InPlace); err != nil {
		h.Fatal(err)
	}
	h.Port = ports[0]
	h.open(devcontainer.How{})
	if _, err := h.Ready(h.ctx); err != nil {
		h.Errorf("with another port in .env: %v", err)
	}
	h.work("the editor")
}

// work checks that what a developer makes in a container, which one of the doors
// has made, belongs to the owner of the checkout.
func (h *house) work(door string) {
	h.Helper()
	const write = `id -u && id -g && mkdir -p planted && touch planted/file && cd workspace-server && go build -o ../planted/server ./cmd/workspace-server && go mod tidy`
	out, err := h.Exec(h.ctx, "sh", "-c", write)
	uid, gid := h.Checkout.Owner()
	if want := fmt.Sprintf("%d\n%d\n", uid, gid); err != nil || out != want {
		h.Errorf("through %s: %v, printed %q, want %q", door, err, out, want)
	}
	foreign, err := h.Checkout.Foreign()
	if err != nil || len(foreign) > 0 {
		h.Errorf("through %s: files of others: %v, %v", door, foreign, err)
	}
	if err := os.RemoveAll(h.Checkout.Path("planted")); err != nil {
		h.Fatal(err)
	}
	h.mine(door)
}

// terminal: what a developer finds in the editor's terminal.
func (h *house) terminal() {
	h.Helper()
	const tools = "go gofmt gopls dlv air staticcheck gofumpt devloop git make shellcheck"
	const missing = "for tool in " + tools + "; do command -v $tool >/dev/null || echo $tool; done"
	h.probe([]probe{
		{[]string{"id", "-un"}, `^dev\n$`},
		{[]string{"pwd"}, `^/workspace\n$`},
		{[]string{"sh", "-c", missing}, `^$`},
		{[]string{"bash", "-lc", missing}, `^$`},
		{[]string{"env", "-C", "workspace-server", "GOPROXY=off", "go", "build", "./..."}, `^$`},
		{[]string{"env", "-C", "workspace-server", "gopls", "check", "internal/api/health.go", "cmd/workspace-server/main.go"}, `^$`},
		{[]string{"env", "-C", "devloop", "GOPROXY=off", "go", "test", "./internal/report"}, `^ok `},
		{[]string{"make", "env"}, `^$`},
	})

	// The versions are those of devloop/tools.mod, and the editor's Go is the
	// one that built the tools.
	pins := map[string]string{}
	mod, err := h.Checkout.Read("devloop/tools.mod")
	if err != nil {
		h.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s+(\S+) (v\S+)`).FindAllStringSubmatch(mod, -1) {
		pins[m[1]] = m[2]
	}
	_, out, err := h.cli.Exec(h.ctx, h.Checkout, "sh", "-c", "go env GOVERSION; for tool in air dlv gopls staticcheck gofumpt; do go version -m $(command -v $tool); done")
	if err != nil {
		h.Fatal(err)
	}
	current, _, _ := strings.Cut(out, "\n")
	found := regexp.MustCompile(`(?m)^/usr/local/bin/(\w+): (\S+)\n\tpath\t\S+\n\tmod\t(\S+)\t(\S+)`).FindAllStringSubmatch(out, -1)
	if len(found) != 5 {
		h.Errorf("want 5 tools with their versions, got\n%s", out)
	}
	for _, m := range found {
		if m[2] != current || m[4] != pins[m[3]] {
			h.Errorf("%s is %s %s built with %s, want %s and %s", m[1], m[3], m[4], m[2], pins[m[3]], current)
		}
	}
}

// debugger: dlv may run what the loop builds, and stop it where one says.
func (h *house) debugger() {
	h.Helper()
	h.probe([]probe{
		{[]string{"sh", "-c", `printf 'break main.main\ncontinue\nexit\n' >/tmp/init && cd workspace-server && ` +
			`dlv exec --allow-non-terminal-interactive --init /tmp/init tmp/server -- serve </dev/null 2>&1`}, `> .*main\.main\(\) .*cmd/workspace-server/main\.go:\d+`},
	})
}

// inside: in the container, "make dev" follows the loop that runs.
func (h *house) inside() {
	h.Helper()
	follow, err := h.cli.Start(h.Checkout, "make", "dev")
	if err != nil {
		h.Fatal(err)
	}
	defer func() {
		if _, err := h.Exec(h.ctx, "pkill", "-INT", "-f", "^devloop follow"); err != nil {
			h.Errorf("the view ended too early: %v", err)
		}
		if _, err := follow.Wait(h.ctx); err != nil {
			h.Error(err)
		}
	}()
	ctx := within(h.T, time.Minute)
	if _, err := follow.Out.Wait(ctx, 0, loop.Serving); err != nil {
		h.Error(err)
		return
	}
	h.editInside(h.NextEdit())
	if _, err := follow.Out.Wait(ctx, 0, loop.Reloaded); err != nil {
		h.Error(err)
	}
}

// editInside makes edit n as a program in the container, and waits for it.
func (h *house) editInside(n int) {
	h.Helper()
	text, err := loop.HealthSource(h.Checkout, n)
	if err != nil {
		h.Fatal(err)
	}
	if err := h.Checkout.Remember(loop.Health); err != nil {
		h.Fatal(err)
	}
	if _, err := h.Exec(h.ctx, "sh", "-c", `printf %s "$1" >"$2"`, "sh", text, loop.Health); err != nil {
		h.Fatal(err)
	}
	h.serves(n)
}

// unbreakable: the container outlives a killed air, a killed server and a broken
// build.
func (h *house) unbreakable(id string) {
	h.Helper()
	started := h.inspect("{{.State.StartedAt}}")
	for _, name := range []string{"air", "server"} {
		if _, err := h.Exec(h.ctx, "sh", "-c", "pkill -KILL -x '"+name+"(\\.[0-9]+)?'"); err != nil {
			h.Fatalf("kill %s: %v", name, err)
		}
	}
	if err := h.Checkout.Write(loop.Health, "package api\n\nfunc broken( {\n", checkout.InPlace); err != nil {
		h.Fatal(err)
	}
	for ctx := within(h.T, time.Minute); ; {
		s, err := h.Status(ctx)
		if err != nil {
			h.Fatal(err)
		}
		if s.Failure != "" && !s.Building {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			h.Fatalf("devloop status = %+v, want a failure", s)
		}
	}
	h.is("a broken build", id, "running")
	h.probe([]probe{{[]string{"echo", "attached"}, `^attached\n$`}})
	if _, err := h.Checkout.Restore(); err != nil {
		h.Fatal(err)
	}
	h.serves(0)
	if now := h.inspect("{{.State.StartedAt}}"); now != started {
		h.Errorf("the container started again at %s", now)
	}
}
