// Runtests runs the tests of every Go module, on SQLite and on a Postgres of
// its own, or with -quick those of what changed. It ends with what it skipped and
// why, and with one line that counts.
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

	"e2e/harness/checkout"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/postgres"
)

func main() { janitor.Program("runtests", run) }

func run(ctx context.Context, args []string, out io.Writer, j *janitor.Janitor) error {
	f := flag.NewFlagSet("runtests", flag.ContinueOnError)
	only := f.String("only", "", "test only this `module`, such as devloop")
	pattern := f.String("run", "", "test only what matches the `pattern`, as \"go test -run\" does")
	quick := f.Bool("quick", false, `test what changed, with "go test -short", without Postgres and the race detector.
On a branch that is what its commits and the working tree change, compared with
main; on main what is not pushed. If that is nothing, the last commit.`)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("the argument %q is unexpected: -only takes a module, -run a pattern", f.Arg(0))
	}
	root, err := checkout.Root()
	if err != nil {
		return err
	}
	modules, err := findModules(root)
	if err != nil {
		return err
	}
	if *only != "" && !slices.Contains(modules, *only) {
		return fmt.Errorf("there is no module %q; there are %s", *only, strings.Join(modules, ", "))
	}
	r := newReport(out, root, *pattern != "")
	left := func(module string) bool { return *only != "" && module != *only }
	for _, module := range modules {
		if left(module) {
			r.skip("module "+module, "-only "+*only)
		}
	}
	var jobs []job
	if *quick {
		jobs, err = planQuick(ctx, r, modules)
		jobs = slices.DeleteFunc(jobs, func(o job) bool { return left(o.module) })
	} else {
		jobs, err = planAll(ctx, r, slices.DeleteFunc(modules, left))
	}
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if *pattern != "" {
		for i := range jobs {
			jobs[i].flags = append(jobs[i].flags, "-run", *pattern)
		}
	}
	if !*quick && slices.ContainsFunc(jobs, func(o job) bool { return o.module == postgresModule }) {
		url, err := database(ctx, j, r)
		if err != nil {
			return err
		}
		for i := range jobs {
			if url != "" && jobs[i].module == postgresModule {
				jobs[i].env = append(jobs[i].env, "TEST_DATABASE_URL="+url)
			}
		}
	}
	if err := runJobs(ctx, r, jobs); err != nil {
		if ctx.Err() != nil {
			_ = r.summary() // of what was tested until then
		}
		return err
	}
	return r.summary()
}

// A job is one "go test" command.
type job struct {
	module   string // the directory that it runs in, relative to the root
	packages []string
	flags    []string
	env      []string // in addition to this program's
	beside   bool     // runs while the others that say so do
}

// first are the modules that the others stand on, in the order to test them.
var first = []string{"workspace-server", "devloop"}

// besideModule has tests that wait, for containers above all, so its jobs run side by
// side. Those of the others compile programs and start them, and would disturb each
// other's measurements.
const besideModule = "workspace-server"

// postgresModule is the module that is tested on Postgres, too.
const postgresModule = "workspace-server"

// loadPackages have the tests that count lost requests under load. Each runs alone:
// beside builds of others, their clients would pause for longer than a server that
// drains keeps a connection open.
var loadPackages = []string{"e2e/anyserver", "e2e/reload"}

// findModules lists the modules of the repository, in the order to test them.
func findModules(root string) ([]string, error) {
	found := slices.Clone(first)
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
	return slices.DeleteFunc(found, func(dir string) bool {
		_, err := os.Stat(filepath.Join(root, dir, "go.mod"))
		return err != nil
	}), nil
}

// planAll plans the tests of all modules.
func planAll(ctx context.Context, r *report, modules []string) ([]job, error) {
	// A busy machine may take several times as long as others do.
	flags := []string{"-timeout=60m"}
	switch race, err := raceDetector(ctx); {
	case err != nil:
		return nil, err
	case race:
		// SQLite is C translated to Go, whose memory the detector does not know.
		// Watching it finds nothing, and makes tests that use it three times as slow.
		// This package alone may go unwatched: it instantiates no generic function.
		// One that others instantiate as well, such as sync.Map's, would be linked in
		// either form, and the detector would report races that are none.
		flags = append(flags, "-race", "-gcflags=modernc.org/sqlite/lib=-race=false")
	default:
		r.skip("the race detector", "needs a C compiler: there is none")
	}
	var jobs []job
	for _, module := range modules {
		cached := job{module: module, flags: slices.Clone(flags), beside: module == besideModule}
		fresh := job{module: module, flags: append(slices.Clone(flags), "-count=1"), beside: cached.beside}
		alone := job{module: module, flags: append(slices.Clone(fresh.flags), "-p=1")}
		if module == "e2e" {
			// They often wait for containers: two packages at once keep two cores busy,
			// and no more than that, so nothing times out.
			fresh.flags = append(fresh.flags, "-p=2")
		}
		for _, p := range r.list(ctx, module) {
			r.skipIgnored(p)
			switch {
			case slices.Contains(loadPackages, p.path):
				alone.packages = append(alone.packages, p.path)
			case reads(p) || module == "e2e":
				fresh.packages = append(fresh.packages, p.path)
			default:
				cached.packages = append(cached.packages, p.path)
			}
		}
		for _, o := range []job{cached, fresh, alone} {
			if len(o.packages) > 0 {
				jobs = append(jobs, o)
			}
		}
	}
	return jobs, nil
}

// raceDetector reports whether "go test -race" works here.
func raceDetector(ctx context.Context) (bool, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED").Output()
	if err != nil {
		return false, fmt.Errorf("ask the go command: %w", err)
	}
	return strings.TrimSpace(string(out)) == "1", nil
}

// database returns the URL of the Postgres to test on, and starts one unless
// TEST_DATABASE_URL gives it. Without an engine there is none, and no URL.
func database(ctx context.Context, j *janitor.Janitor, r *report) (string, error) {
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
		r.fail("REQUIRE_DOCKER=1, but there is no Postgres to test on: " + missing)
		return "", nil
	}
	r.skip("workspace-server on Postgres", "needs Docker, or TEST_DATABASE_URL: "+missing)
	return "", nil
}

// runJobs runs the jobs, first those that run side by side, and then each of the
// others by itself.
func runJobs(ctx context.Context, r *report, jobs []job) error {
	stream, err := r.open()
	if err != nil {
		return err
	}
	errs := make([]error, len(jobs))
	var together sync.WaitGroup
	for i, o := range jobs {
		if o.beside {
			together.Go(func() { errs[i] = o.run(ctx, r, stream) })
		}
	}
	together.Wait()
	for i, o := range jobs {
		if !o.beside && ctx.Err() == nil {
			errs[i] = o.run(ctx, r, stream)
		}
	}
	if err := stream.close(); err != nil {
		errs = append(errs, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}
