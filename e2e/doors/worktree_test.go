package doors

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/devcontainer"
)

// TestWorktree runs "make dev" in a git worktree in a company's network: git works
// inside of the container, what .env says has reached it, and the dev container CLI
// finds a container that it did not make.
func TestWorktree(t *testing.T) {
	t.Parallel()
	cli := devcontainer.Need(t, within(t, 2*time.Minute), cleaner)
	n := company(t)
	h := build(t, cli)
	if err := n.join(h.Checkout); err != nil {
		t.Fatal(err)
	}
	main := h.worktree()
	env, err := h.Checkout.Read(".env")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Checkout.Write(".env", env+"LOG_LEVEL=debug\nOWN=mine\n", checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	h.Checkout.Accept()
	if err := h.Checkout.Write("docker-compose.override.yml", "services: {platform: {environment: {OF_OWN: \"${OWN}\"}}}\n", checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	h.Checkout.Accept()
	h.start()
	h.probe([]probe{
		{[]string{"id", "-un"}, `^dev\n$`},
		{[]string{"git", "status", "--porcelain"}, `^$`},
		{[]string{"git", "-c", "user.name=e2e", "-c", "user.email=e2e@example.org", "commit", "--quiet", "--allow-empty", "-m", "from inside"}, `^$`},
		{[]string{"env", "GOMODCACHE=/tmp/modules", "go", "-C", "workspace-server", "mod", "download"}, `^$`},
		// It says what the server lacks, so it took the certificate.
		{[]string{"sh", "-c", "git ls-remote https://" + n.modules + "/none 2>&1 || :"}, `not found`},
		{[]string{"printenv", "OF_OWN"}, `^mine\n$`},
	})
	if asked, proxied := n.seen(); asked == 0 || !proxied {
		t.Errorf("in the container go and git asked %d times for modules, through the proxy: %t; want some, and true", asked, proxied)
	}
	s, err := h.Status(h.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := h.Exec(h.ctx, "grep", "-z", "^LOG_LEVEL=debug$", "/proc/"+strconv.Itoa(s.PID)+"/environ"); err != nil {
		t.Errorf("the server has not LOG_LEVEL=debug of .env: %v: %s", err, out)
	}
	log, err := exec.CommandContext(h.ctx, "git", "-C", h.Checkout.Dir, "-c", "safe.directory=*", "log", "-1", "--format=%s").CombinedOutput()
	if err != nil || string(log) != "from inside\n" {
		t.Errorf("git log outside: %v, %q, want the commit made inside", err, log)
	}
	if options := h.inspect("{{.HostConfig.SecurityOpt}}"); options != "[label=disable]" {
		t.Errorf("the dev container has the options %s, want SELinux off for it, and no more", options)
	}
	uid, _ := h.Checkout.Owner()
	foreign, err := exec.CommandContext(h.ctx, "find", filepath.Join(main, ".git", "objects"), "!", "-uid", strconv.Itoa(uid)).CombinedOutput()
	if err != nil || len(foreign) > 0 {
		t.Errorf("the repository has files of others: %v\n%s", err, foreign)
	}
	h.mine("make dev in a worktree")
}

// worktree makes the checkout a worktree of another repository, whose directory it
// returns.
func (h *house) worktree() string {
	h.Helper()
	main, err := filepath.EvalSymlinks(h.TempDir())
	if err != nil {
		h.Fatal(err)
	}
	git := func(dir string, args ...string) {
		h.Helper()
		out, err := exec.CommandContext(h.ctx, "git", append([]string{"-C", dir, "-c", "safe.directory=*"}, args...)...).CombinedOutput()
		if err != nil {
			h.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	rename := func(from, to string) {
		h.Helper()
		if err := os.Rename(from, to); err != nil {
			h.Fatal(err)
		}
	}
	added := filepath.Join(main, "added")
	rename(h.Checkout.Path(".git"), filepath.Join(main, ".git"))
	git(main, "worktree", "add", "--quiet", "--no-checkout", "--detach", added)
	rename(filepath.Join(added, ".git"), h.Checkout.Path(".git"))
	git(main, "worktree", "repair", h.Checkout.Dir)
	git(h.Checkout.Dir, "reset", "--quiet")
	if uid, gid := h.Checkout.Owner(); os.Getuid() == 0 {
		if err := h.Checkout.Give(uid, gid); err != nil {
			h.Fatal(err)
		}
		if out, err := exec.CommandContext(h.ctx, "chown", "-R", fmt.Sprintf("%d:%d", uid, gid), main).CombinedOutput(); err != nil {
			h.Fatalf("chown: %v: %s", err, out)
		}
	}
	return main
}
