package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// readers are packages whose tests read files outside of their module, which
// neither imports nor the go command's cache know. They run without that cache. With
// -quick they run if a file changed whose name starts with prefix; of e2e, which
// runs servers, loops and containers for minutes, only they do.
var readers = []struct{ prefix, pkg string }{
	{"", "e2e/static"},
	{"", "workspace-server/internal/rules"},
	{"docs/", "devloop/internal/rules"},
	{"scripts/", "e2e/scripts"},
	{".ci/", "e2e/scripts"},
	{"Makefile", "e2e/editor"},
	{".vscode/", "e2e/editor"},
	{".devcontainer/", "e2e/editor"},
}

// A pkg is a package of this repository.
type pkg struct {
	path, module string
	dir          string // relative to the root
	tests        bool   // it has some
	imports      []string
	testImports  []string // of its tests
	ignored      []string // files that are for other systems
}

// planQuick plans the tests of what changed.
func planQuick(ctx context.Context, r *report, modules []string) ([]job, error) {
	files, since, err := changes(ctx, r.root)
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	for _, module := range modules {
		pkgs = append(pkgs, r.list(ctx, module)...)
	}
	chosen := choose(files, modules, pkgs)
	var jobs []job
	add := func(module string, fresh bool, fits func(pkg) bool) {
		o := job{module: module, flags: []string{"-short", "-timeout=5m"}, env: []string{"TEST_DATABASE_URL=", "REQUIRE_DOCKER="}, beside: true}
		if fresh {
			o.flags = append(o.flags, "-count=1")
		}
		for _, p := range pkgs {
			if p.module == module && p.tests && fits(p) {
				o.packages = append(o.packages, p.path)
				r.skipIgnored(p)
			}
		}
		if len(o.packages) > 0 {
			jobs = append(jobs, o)
		}
	}
	for _, module := range modules {
		add(module, false, func(p pkg) bool { return chosen[p.path] && !reads(p) && !slow(p) })
		add(module, true, func(p pkg) bool { return chosen[p.path] && reads(p) })
	}
	fmt.Fprintf(r.out, "files changed since %s: %d\n", since, len(files))
	r.skip("workspace-server on Postgres", "-quick")
	r.skip("the race detector", "-quick")
	for _, p := range pkgs {
		if slow(p) && p.tests {
			r.skip(p.path, "-quick: it runs servers, loops or containers for minutes")
		}
	}
	return jobs, nil
}

// slow reports whether a package's tests take minutes: all of e2e but its harness
// and the readers.
func slow(p pkg) bool {
	return p.module == "e2e" && !strings.HasPrefix(p.path, "e2e/harness/") && !reads(p)
}

// reads reports whether a package is one of the readers.
func reads(p pkg) bool {
	for _, reader := range readers {
		if reader.pkg == p.path {
			return true
		}
	}
	return false
}

// choose returns the packages to test when these files changed: those that the
// files belong to, those that import them, and the readers. A file that belongs to
// no package, such as go.mod, may change all of its module.
func choose(files, modules []string, pkgs []pkg) map[string]bool {
	byDir := map[string]pkg{}
	for _, p := range pkgs {
		byDir[p.dir] = p
	}
	changed, chosen := map[string]bool{}, map[string]bool{} // what importers see, and what is tested
	for _, file := range files {
		for _, reader := range readers {
			if strings.HasPrefix(file, reader.prefix) {
				chosen[reader.pkg] = true
			}
		}
		module := moduleOf(file, modules)
		if module == "" {
			continue
		}
		p, ok := owner(file, module, byDir)
		switch {
		case ok && (strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/testdata/")):
			chosen[p.path] = true
		case ok:
			changed[p.path] = true
		default:
			for _, p := range pkgs {
				if p.module == module {
					changed[p.path] = true
				}
			}
		}
	}
	for grown := true; grown; {
		grown = false
		for _, p := range pkgs {
			if !changed[p.path] && slices.ContainsFunc(p.imports, func(i string) bool { return changed[i] }) {
				changed[p.path], grown = true, true
			}
		}
	}
	for _, p := range pkgs {
		if changed[p.path] || slices.ContainsFunc(p.testImports, func(i string) bool { return changed[i] }) {
			chosen[p.path] = true
		}
	}
	return chosen
}

// moduleOf returns the innermost module that a file is in, or "".
func moduleOf(file string, modules []string) string {
	in := ""
	for _, module := range modules {
		if strings.HasPrefix(file, module+"/") && len(module) > len(in) {
			in = module
		}
	}
	return in
}

// owner returns the package in the file's directory, or in the next one above.
func owner(file, module string, byDir map[string]pkg) (pkg, bool) {
	for dir := path.Dir(file); dir == module || strings.HasPrefix(dir, module+"/"); dir = path.Dir(dir) {
		if p, ok := byDir[dir]; ok && p.module == module {
			return p, true
		}
	}
	return pkg{}, false
}

// listPackages lists the packages of a module.
func listPackages(ctx context.Context, root, module string) ([]pkg, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,TestGoFiles,XTestGoFiles,IgnoredGoFiles", "./...")
	cmd.Dir = filepath.Join(root, module)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir                    string
			Imports, TestImports, XTestImports []string
			TestGoFiles, XTestGoFiles          []string
			IgnoredGoFiles                     []string
		}
		if err := d.Decode(&p); err == io.EOF {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		dir, err := filepath.Rel(root, p.Dir)
		if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, pkg{
			path: p.ImportPath, module: module, dir: filepath.ToSlash(dir), tests: len(p.TestGoFiles)+len(p.XTestGoFiles) > 0,
			imports: p.Imports, testImports: slices.Concat(p.TestImports, p.XTestImports), ignored: p.IgnoredGoFiles,
		})
	}
}

// changes lists the files that changed, and says since when: on a branch since it
// left main, on main since what is pushed. If that is nothing, the last commit is
// what changed. Files that are not committed count, except those that git ignores.
func changes(ctx context.Context, root string) (files []string, since string, err error) {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", root, "-c", "safe.directory=*"}, args...)...)
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(exit.Stderr))
		}
		return strings.TrimSpace(string(out)), err
	}
	if _, err := git("rev-parse", "--verify", "HEAD"); err != nil {
		return nil, "", err
	}
	base, since := "HEAD", "the last commit"
	mains := []string{"main", "origin/main"}
	if branch, err := git("symbolic-ref", "--quiet", "--short", "HEAD"); err == nil && branch == "main" {
		mains = []string{"main@{upstream}"}
	}
	for _, main := range mains {
		if fork, err := git("merge-base", "HEAD", main); err == nil {
			base, since = fork, main
			break
		}
	}
	untracked, err := git("ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return nil, "", err
	}
	found := map[string]bool{}
	note := func(names string) {
		for name := range strings.SplitSeq(names, "\x00") {
			if name != "" {
				found[name] = true
			}
		}
	}
	note(untracked)
	tracked, err := git("diff", "--name-only", "--no-renames", "-z", base)
	if err != nil {
		return nil, "", err
	}
	if note(tracked); len(found) == 0 {
		if before, err := git("rev-parse", "--verify", "HEAD~1"); err == nil {
			base, since = before, "the commit before the last"
			if tracked, err = git("diff", "--name-only", "--no-renames", "-z", base); err != nil {
				return nil, "", err
			}
			note(tracked)
		}
	}
	short, err := git("rev-parse", "--short", base)
	return slices.Sorted(maps.Keys(found)), since + " (" + short + ")", err
}
