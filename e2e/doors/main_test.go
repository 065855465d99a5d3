// Package doors tests that there is one container for a checkout, whichever way
// it is opened: by an editor, as a codespace, or with "make dev".
package doors

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"e2e/harness/devcontainer"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/loop"
)

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }

// A house is a checkout with its doors.
type house struct {
	*testing.T
	*loop.Loop
	cli *devcontainer.CLI
	ctx context.Context
}

// build prepares a checkout, as a separate clone.
func build(t *testing.T, cli *devcontainer.CLI, prepare ...func(*loop.Loop) error) *house {
	t.Helper()
	ctx := within(t, 28*time.Minute)
	l := loop.ForTest(ctx, t, cleaner, loop.Container)
	for _, fn := range prepare {
		if err := fn(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Checkout.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	return &house{t, l, cli, ctx}
}

// open opens it as an editor does.
func (h *house) open(how devcontainer.How) devcontainer.Opened {
	h.Helper()
	began := time.Now()
	opened, err := h.cli.Up(h.ctx, h.Checkout, how)
	if err != nil {
		h.Fatal(err)
	}
	h.Logf("report: devcontainer up %s in %.1fs", strings.Join(how.Args, " "), time.Since(began).Seconds())
	if opened.ComposeProjectName != h.Project || opened.RemoteUser != "dev" || opened.RemoteWorkspaceFolder != "/workspace" {
		h.Errorf("devcontainer up = project %q, user %q, folder %q; want %q, dev, /workspace",
			opened.ComposeProjectName, opened.RemoteUser, opened.RemoteWorkspaceFolder, h.Project)
	}
	return opened
}

// start runs make dev until it says that it serves.
func (h *house) start() {
	h.Helper()
	began := time.Now()
	if err := h.Start(h.ctx); err != nil {
		h.Fatal(err)
	}
	h.Logf("report: make dev serves in %.1fs", time.Since(began).Seconds())
}

// interrupt ends make dev with Ctrl-C.
func (h *house) interrupt() {
	h.Helper()
	if _, err := h.Interrupt(h.ctx); err != nil {
		h.Fatal(err)
	}
}

// is checks that the one container is this one, in this state.
func (h *house) is(after, id, status string) {
	h.Helper()
	got, err := h.ContainerID(h.ctx)
	if err != nil {
		h.Fatalf("after %s: %v", after, err)
	}
	if !strings.HasPrefix(id, got) {
		h.Fatalf("after %s the container is %s, want still %s", after, got, id)
	}
	if now := h.inspect("{{.State.Status}}"); now != status {
		h.Errorf("after %s the container is %s, want %s", after, now, status)
	}
}

func (h *house) inspect(format string) string {
	h.Helper()
	id, err := h.ContainerID(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	out, err := engine.Docker(h.ctx, "inspect", "--format", format, id)
	if err != nil {
		h.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// edit makes an edit on the host and waits until it serves.
func (h *house) edit() {
	h.Helper()
	if _, err := h.Edit(h.ctx); err != nil {
		h.Fatal(err)
	}
}

// serves waits until edit n serves.
func (h *house) serves(n int) {
	h.Helper()
	if _, err := loop.AwaitVersion(within(h.T, time.Minute), h.Addr(), n, nil); err != nil {
		h.Fatal(err)
	}
}

// A probe is a command in the container, and what it must print.
type probe struct {
	args []string
	want string
}

func (h *house) probe(probes []probe) {
	h.Helper()
	for _, p := range probes {
		code, out, err := h.cli.Exec(h.ctx, h.Checkout, p.args...)
		if err != nil || code != 0 || !regexp.MustCompile(p.want).MatchString(out) {
			h.Errorf("%v in the container: exit code %d, %v, printed %q, want a match of %q", p.args, code, err, out, p.want)
		}
	}
}

// mine checks that nothing belongs to another user than the checkout's, on the
// host and in the container's caches, and that git finds nothing changed.
func (h *house) mine(after string) {
	h.Helper()
	if _, err := h.Checkout.Restore(); err != nil { // which has the loop build
		h.Fatal(err)
	}
	foreign, err := h.Checkout.Foreign()
	if err != nil {
		h.Fatal(err)
	}
	if len(foreign) > 0 {
		h.Errorf("after %s: files of others: %v", after, foreign)
	}
	const find = `find "$HOME" /workspace/workspace-server/tmp -ignore_readdir_race \( ! -uid "$(id -u)" -o ! -gid "$(id -g)" \) -print`
	out, err := h.Exec(h.ctx, "sh", "-c", find)
	if err != nil || out != "" {
		h.Errorf("after %s: files of others in the container: %v\n%s", after, err, out)
	}
	for where, status := range map[string]func() (string, error){
		"outside": func() (string, error) { return h.Checkout.Status(h.ctx) },
		"inside":  func() (string, error) { return h.Exec(h.ctx, "git", "status", "--porcelain") },
	} {
		if out, err := status(); err != nil || out != "" {
			h.Errorf("after %s git status %s: %v\n%swant a clean tree", after, where, err, out)
		}
	}
}

// cut returns how to run something without a network: in a namespace without one
// where that is allowed, else with proxies that are not there.
func cut(t *testing.T) devcontainer.How {
	how := devcontainer.How{Env: []string{
		"HTTP_PROXY=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9", "http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9",
		"NO_PROXY=", "no_proxy=", "ALL_PROXY=http://127.0.0.1:9",
	}}
	unshare := []string{"unshare", "--net"}
	if os.Getuid() != 0 {
		unshare = append(unshare, "--map-current-user")
	}
	if exec.Command(unshare[0], append(unshare[1:], "true")...).Run() == nil {
		how.With = unshare
	}
	t.Logf("report: the network is cut with %s", strings.TrimSpace(fmt.Sprint(strings.Join(how.With, " "), " and proxies that are not there")))
	return how
}
