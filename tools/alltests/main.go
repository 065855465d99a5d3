// Alltests runs the tests of every module, on SQLite and on a Postgres of its
// own, and ends with what it skipped and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/postgres"
	"e2e/harness/testrun"
)

func main() { janitor.Program("alltests", run) }

// beside are the modules that the others stand on. They are tested side by side,
// as each has tests that wait; the others would measure each other.
var beside = []string{"workspace-server", "devloop"}

// modules lists all modules of the repository, in the order to test them.
func modules(root string) ([]string, error) {
	found := slices.Clone(beside)
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			dir, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil {
				return nil, err
			}
			if !strings.HasPrefix(dir, ".") && !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
	}
	return found, nil
}

func run(ctx context.Context, args []string, out io.Writer, j *janitor.Janitor) error {
	f := flag.NewFlagSet("alltests", flag.ContinueOnError)
	only := f.String("only", "", "test only this `module`, such as devloop")
	pattern := f.String("run", "", "test only what matches, as with \"go test -run\"")
	if err := f.Parse(args); err != nil {
		return err
	}
	root, err := checkout.Root()
	if err != nil {
		return err
	}
	began := time.Now()
	r := &testrun.Run{Out: out, Root: root}
	env := os.Environ()
	// A busy machine may take several times as long as others do.
	flags := []string{"-json", "-fullpath", "-timeout=20m"}
	if race, err := raceDetector(ctx, root); err != nil {
		return err
	} else if race {
		flags = append(flags, "-race")
	} else {
		r.Skip("the race detector", "needs a C compiler: none was found")
	}
	if *pattern != "" {
		flags = append(flags, "-run", *pattern)
	}
	all, err := modules(root)
	if err != nil {
		return err
	}
	if *only != "" && !slices.Contains(all, *only) {
		return fmt.Errorf("there is no module %q; there are %s", *only, strings.Join(all, ", "))
	}
	each := func(module string) error {
		if *only != "" && *only != module {
			r.Skip("module "+module, "-only "+*only)
			return nil
		}
		moduleEnv, moduleFlags := env, slices.Clone(flags)
		switch module {
		case "workspace-server":
			url, err := database(ctx, j, r)
			if err != nil {
				return err
			}
			if url != "" {
				moduleEnv = append(slices.Clone(env), "TEST_DATABASE_URL="+url)
			}
		case "e2e":
			// What these test is outside of the module, where the go command's
			// cache does not look, and several at once would measure each other.
			moduleFlags = append(moduleFlags, "-count=1", "-p=1")
		}
		return test(ctx, module, moduleEnv, moduleFlags, r)
	}
	errs := make([]error, len(all))
	var together sync.WaitGroup
	for i := range beside {
		together.Go(func() { errs[i] = each(all[i]) })
	}
	together.Wait()
	for i := len(beside); i < len(all) && errors.Join(errs...) == nil; i++ {
		errs[i] = each(all[i])
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nin %s\n", time.Since(began).Round(time.Second))
	r.Summary()
	if r.Failed > 0 {
		return janitor.ErrTold // by the summary
	}
	return nil
}

// database starts a Postgres unless one is given.
func database(ctx context.Context, j *janitor.Janitor, r *testrun.Run) (string, error) {
	if url := os.Getenv("TEST_DATABASE_URL"); url != "" {
		return url, nil
	}
	missing := engine.Missing()
	if missing == "" {
		server, err := postgres.Start(ctx, j)
		if err == nil || ctx.Err() != nil {
			return server.URL, err
		}
		missing = err.Error()
	}
	if engine.Required() {
		r.Fail("REQUIRE_DOCKER=1, but there is no Postgres to test on: " + missing)
		return "", nil
	}
	r.Skip("workspace-server on Postgres", "needs Docker, or TEST_DATABASE_URL: "+missing)
	return "", nil
}

// test tests one module.
func test(ctx context.Context, module string, env, flags []string, r *testrun.Run) error {
	dir := filepath.Join(r.Root, module)
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{range .IgnoredGoFiles}}{{$.ImportPath}} {{.}}\n{{end}}", "./...")
	list.Dir = dir
	ignored, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the packages of %s: %w", module, err)
	}
	for name := range strings.Lines(string(ignored)) {
		if name = strings.TrimSpace(name); strings.HasSuffix(name, "_test.go") {
			r.Skip(name, "its build constraint is not met here")
		}
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"test"}, flags...), "./...")...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, r.Out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The tests get to remove what they made.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed, readErr := r.Read(module, stdout)
	waitErr := cmd.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if waitErr != nil && !failed {
		r.Fail(fmt.Sprintf("go test in %s: %v", module, waitErr))
	}
	return readErr
}

// raceDetector reports whether "go test -race" works here.
func raceDetector(ctx context.Context, root string) (bool, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED")
	cmd.Dir = filepath.Join(root, "e2e")
	out, err := cmd.Output()
	if err != nil {
		return false, fmt.Errorf("ask the go command: %w", err)
	}
	return strings.TrimSpace(string(out)) == "1", nil
}
