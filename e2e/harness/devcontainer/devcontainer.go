// Package devcontainer opens checkouts as editors do, with the reference CLI of
// dev containers (github.com/devcontainers/cli), which they bundle.
package devcontainer

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/janitor"
)

// pinned says which version, with the hashes of all that it consists of.
//
//go:embed cli
var pinned embed.FS

// oldest is the major version of Node that the CLI needs.
const oldest = 20

// A CLI is an installed one.
type CLI struct {
	dir string
}

// Need installs the CLI, or skips a test where there is nothing to do it with.
func Need(t testing.TB, ctx context.Context, j *janitor.Janitor) *CLI {
	t.Helper()
	engine.Need(t)
	missing := missing(ctx)
	var cli *CLI
	if missing == "" {
		var err error
		if cli, err = install(ctx, j); err == nil {
			return cli
		}
		missing = err.Error()
	}
	if ctx.Err() != nil {
		t.Fatalf("install the dev container CLI: %v", ctx.Err())
	}
	if engine.Required() {
		t.Fatalf("REQUIRE_DOCKER=1, but %s", missing)
	}
	t.Skipf("needs the dev container CLI: %s", missing)
	return nil
}

func missing(ctx context.Context) string {
	if _, err := exec.LookPath("npm"); err != nil {
		return "npm is missing"
	}
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "Node is missing"
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return fmt.Sprintf("Node is %s, and %d or later is needed", version, oldest)
	}
	return ""
}

func install(ctx context.Context, j *janitor.Janitor) (*CLI, error) {
	dir, err := os.MkdirTemp("", "e2e-cli-")
	if err != nil {
		return nil, err
	}
	if err := j.Add(janitor.Directory(dir)); err != nil {
		return nil, err
	}
	files, err := fs.Sub(pinned, "cli")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm ci: %w: %s", err, out)
	}
	// The CLI keeps what it adds to compose files here.
	return &CLI{dir}, os.Mkdir(filepath.Join(dir, "tmp"), 0o777)
}

// args is the command line that runs the CLI.
func (c *CLI) args(args ...string) []string {
	return append([]string{filepath.Join(c.dir, "node_modules/.bin/devcontainer")}, args...)
}

func (c *CLI) options(co *checkout.Checkout, env ...string) command.Options {
	return command.Options{Dir: co.Dir, Run: co.Run, Env: append([]string{"TMPDIR=" + filepath.Join(c.dir, "tmp")}, env...)}
}

// Run runs the CLI on a checkout and returns what it printed.
func (c *CLI) Run(ctx context.Context, co *checkout.Checkout, args ...string) (int, string, error) {
	return command.Run(ctx, c.options(co), c.args(append(args, "--workspace-folder", co.Dir)...)...)
}

// An Opened container is what the CLI reports at the end of "up".
type Opened struct {
	Outcome, Message, Description string
	ContainerID                   string
	ComposeProjectName            string
	RemoteUser                    string
	RemoteWorkspaceFolder         string

	Log string // what else was printed
}

// How to run "up".
type How struct {
	Args []string
	Env  []string
	With []string // a command that runs it, such as "unshare -n"
}

// Up opens a checkout.
func (c *CLI) Up(ctx context.Context, co *checkout.Checkout, how How) (Opened, error) {
	args := append([]string{"up", "--workspace-folder", co.Dir}, how.Args...)
	code, out, err := command.Run(ctx, c.options(co, how.Env...), append(how.With, c.args(args...)...)...)
	if err != nil {
		return Opened{}, err
	}
	opened := Opened{Log: out}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, `{"outcome":`) {
			err = errors.Join(err, json.Unmarshal([]byte(line), &opened))
		}
	}
	if err == nil && (code != 0 || opened.Outcome != "success") {
		err = fmt.Errorf("devcontainer up: exit code %d, outcome %q: %s\n%s", code, opened.Outcome, opened.Description, out)
	}
	return opened, err
}

// Exec runs a command as an editor's terminal does.
func (c *CLI) Exec(ctx context.Context, co *checkout.Checkout, args ...string) (int, string, error) {
	p, err := c.Start(co, args...)
	if err != nil {
		return 0, "", err
	}
	code, err := p.Wait(ctx)
	return code, p.Text(), err
}

// Start is Exec for a command that goes on.
func (c *CLI) Start(co *checkout.Checkout, args ...string) (*command.Process, error) {
	return command.Start(c.options(co), c.args(append([]string{"exec", "--workspace-folder", co.Dir}, args...)...)...)
}
