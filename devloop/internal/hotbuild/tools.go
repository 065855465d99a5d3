package hotbuild

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"devloop/internal/gobuild"
	"devloop/internal/process"
)

// Tools are the toolchain's programs, and what they are run with.
type tools struct {
	dir string   // of the programs
	cwd string   // where the go command runs them: it is in what they write
	env []string // theirs
}

func findTools(ctx context.Context, starter *process.Starter, r gobuild.Request) (tools, error) {
	// What the go command tells its tools from its own configuration file
	// (cmd/go/internal/cfg).
	names := []string{"GOROOT", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GOFIPS140"}
	values, err := gobuild.Variables(ctx, starter, r, append(slices.Clone(names), "GOTOOLDIR", "GOVERSION")...)
	if err != nil {
		return tools{}, err
	}
	if version := values["GOVERSION"]; version != "go1.26" && !strings.HasPrefix(version, "go1.26.") {
		return tools{}, refuse("unknown " + version)
	}
	if arch := values["GOARCH"]; arch != "amd64" && arch != "arm64" {
		return tools{}, refuse("unknown " + arch)
	}
	t := tools{dir: filepath.ToSlash(values["GOTOOLDIR"]), cwd: r.Directory(), env: slices.Clone(r.Env)}
	for _, name := range names {
		if values[name] != "" {
			t.env = append(t.env, name+"="+values[name])
		}
	}
	// The tools take the directory's name from PWD (os.Getwd), as go's do.
	t.env = append(t.env, "PWD="+t.cwd)
	return t, nil
}

// run runs a tool. When the context ends, so does the tool.
func (t tools) run(ctx context.Context, starter *process.Starter, tool string, args, env []string) error {
	var said bytes.Buffer
	cmd := exec.Command(filepath.Join(t.dir, tool), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.cwd, &said, &said
	cmd.Env = slices.Concat(t.env, env)
	p, err := starter.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return context.Cause(ctx)
	}
	if !p.State().Success() {
		return fmt.Errorf("%s: %v: %s", tool, p.State(), bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
