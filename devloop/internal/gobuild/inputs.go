package gobuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"devloop/internal/process"
	"devloop/internal/source"
)

// Base returns what a build reads in any case, without asking the go command:
// the module with all its sources, and the files that describe it.
func Base(root string, r Request) source.Set {
	dir := r.Directory()
	s := source.Set{Root: root}
	module := dir
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			module = at
			break
		}
		if filepath.Dir(at) == at {
			break
		}
	}
	skip := []string(nil)
	if out, err := r.Output(); err == nil {
		if rel, err := filepath.Rel(module, filepath.Dir(out)); err == nil && rel != "." {
			skip = append(skip, filepath.ToSlash(rel))
		}
	}
	s.Modules = []source.Module{{Dir: module, Skip: skip}}
	s.Files = append(s.Files, moduleFiles(module)...)
	if work := r.env("GOWORK"); work != "" && work != "off" {
		s.Files = append(s.Files, work, work+".sum")
	} else if work == "" {
		for at := dir; ; at = filepath.Dir(at) {
			s.Files = append(s.Files, filepath.Join(at, "go.work"), filepath.Join(at, "go.work.sum"))
			if filepath.Dir(at) == at {
				break
			}
		}
	}
	for _, name := range []string{"modfile", "overlay", "pgo"} {
		if value := r.flag(name); value != "" && value != "off" && value != "auto" {
			if !filepath.IsAbs(value) {
				value = filepath.Join(dir, value)
			}
			s.Files = append(s.Files, value)
			if name == "modfile" {
				s.Files = append(s.Files, strings.TrimSuffix(value, ".mod")+".sum")
			}
		}
	}
	return s
}

// moduleFiles are those that describe a module.
func moduleFiles(dir string) []string {
	return []string{filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"), filepath.Join(dir, "vendor", "modules.txt")}
}

// listed is what "go list" says of one package.
type listed struct {
	Dir           string
	Standard      bool
	EmbedPatterns []string
	Module        *struct{ GoMod string }
	DepsErrors    []struct{ Err string }
}

// Inputs asks the go command what a build reads. Paths in the set's trees are
// relative to root. If the go command cannot tell, the set is what Base
// returns, and what go.mod names, beside the error.
func Inputs(ctx context.Context, starter *process.Starter, root string, r Request) (source.Set, error) {
	s := Base(root, r)
	var places struct{ GOENV, GOMODCACHE, GOWORK string }
	if err := r.ask(ctx, starter, &places, "env", "-json", "GOENV", "GOMODCACHE", "GOWORK"); err != nil {
		return s, err
	}
	if places.GOENV != "off" {
		s.Files = append(s.Files, places.GOENV)
	}
	modules := map[string]bool{s.Modules[0].Dir: true}
	addModule := func(dir string) {
		if !modules[dir] && !within(places.GOMODCACHE, dir) {
			modules[dir] = true
			s.Modules = append(s.Modules, source.Module{Dir: dir})
			s.Files = append(s.Files, moduleFiles(dir)...)
		}
	}
	for _, file := range []string{places.GOWORK, filepath.Join(s.Modules[0].Dir, "go.mod")} {
		for _, dir := range r.neighbours(ctx, starter, file) {
			addModule(dir)
		}
	}
	args := slices.Concat([]string{"list", "-deps", "-e", "-json=Dir,Standard,EmbedPatterns,Module"}, r.listArgs())
	err := r.stream(ctx, starter, args, func(d *json.Decoder) error {
		var p listed
		if err := d.Decode(&p); err != nil {
			return err
		}
		if p.Standard || p.Dir == "" || within(places.GOMODCACHE, p.Dir) {
			return nil
		}
		s.Packages = append(s.Packages, p.Dir)
		for _, pattern := range p.EmbedPatterns {
			s.Embeds = append(s.Embeds, source.Embed{Dir: p.Dir, Pattern: pattern})
		}
		if p.Module != nil && p.Module.GoMod != "" {
			addModule(filepath.Dir(p.Module.GoMod))
		}
		return nil
	})
	return s, err
}

// neighbours returns the directories of other modules that a go.mod or go.work
// names, whether they exist or not.
func (r Request) neighbours(ctx context.Context, starter *process.Starter, file string) []string {
	verb := map[string]string{"go.mod": "mod", "go.work": "work"}[filepath.Base(file)]
	if verb == "" {
		return nil
	}
	var named struct {
		Use     []struct{ DiskPath string }
		Replace []struct {
			New struct{ Path, Version string }
		}
	}
	if err := r.ask(ctx, starter, &named, verb, "edit", "-json", file); err != nil {
		return nil // the build says what is wrong with it
	}
	var out []string
	add := func(dir string) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(filepath.Dir(file), dir)
		}
		out = append(out, filepath.Clean(dir))
	}
	for _, u := range named.Use {
		add(u.DiskPath)
	}
	for _, replaced := range named.Replace {
		if replaced.New.Version == "" {
			add(replaced.New.Path)
		}
	}
	return out
}

// Pending returns the import paths of the packages that the build has to
// compile yet.
func Pending(ctx context.Context, starter *process.Starter, r Request) ([]string, error) {
	const cached = "not installed but available in build cache"
	var out []string
	args := slices.Concat([]string{"list", "-deps", "-e", "-json=ImportPath,Stale,StaleReason"}, r.listArgs())
	err := r.stream(ctx, starter, args, func(d *json.Decoder) error {
		var p struct {
			ImportPath, StaleReason string
			Stale                   bool
		}
		if err := d.Decode(&p); err != nil {
			return err
		}
		if p.Stale && p.StaleReason != cached {
			out = append(out, p.ImportPath)
		}
		return nil
	})
	return out, err
}

// ask runs a go command that answers with one JSON value.
func (r Request) ask(ctx context.Context, starter *process.Starter, answer any, args ...string) error {
	return r.stream(ctx, starter, args, func(d *json.Decoder) error { return d.Decode(answer) })
}

// stream runs a go command that answers with JSON values, and has each read.
func (r Request) stream(ctx context.Context, starter *process.Starter, args []string, read func(*json.Decoder) error) error {
	out, _, err := r.output(ctx, starter, r.Directory(), args)
	if err != nil {
		return err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		if err := read(d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what go %s says: %w", args[0], err)
		}
		if !d.More() {
			return nil
		}
	}
}

// output runs a go command and returns what it printed.
func (r Request) output(ctx context.Context, starter *process.Starter, dir string, args []string) (out, said []byte, err error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(slices.Clone(r.Env), "PWD="+cmd.Dir)
	state, err := finish(ctx, starter, cmd)
	if err != nil {
		return nil, nil, err
	}
	if !state.Success() {
		return nil, nil, fmt.Errorf("go %s: %v: %s", args[0], state, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), stderr.Bytes(), nil
}

// within reports whether a path is a directory or below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return dir != "" && err == nil && filepath.IsLocal(rel)
}
