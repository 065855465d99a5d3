// Package initialize writes what a Go module needs to run in the loop: it finds the
// main packages, reads in their source where they listen, and writes air's
// configuration.
package initialize

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Module is a Go module on disk.
type Module struct {
	Dir   string // absolute
	Path  string
	Mains []Main

	packages map[string]pkg
}

// A Main is a main package.
type Main struct {
	Name string // of the program
	Dir  string // relative, as the go command takes it: ./cmd/server

	importPath string
}

// pkg is what "go list" says of a package.
type pkg struct {
	Dir, ImportPath, Name string
	GoFiles, CgoFiles     []string
	Imports               []string
	Module                *struct {
		Path, Dir string
		Main      bool
	}
}

// Read reads the module that dir is in.
func Read(ctx context.Context, dir string) (Module, error) {
	list, err := list(ctx, dir, "list", "-m", "-json=Path,Dir")
	if err != nil {
		return Module{}, err
	}
	var found struct{ Path, Dir string }
	if err := json.Unmarshal(list, &found); err != nil || found.Dir == "" {
		return Module{}, fmt.Errorf("%s is in no Go module, or in several of a workspace: run this in one module's directory", dir)
	}
	m := Module{Dir: found.Dir, Path: found.Path, packages: map[string]pkg{}}
	if list, err = listPackages(ctx, m.Dir); err != nil {
		return Module{}, err
	}
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Module{}, fmt.Errorf("read what 'go list' says: %w", err)
		}
		m.packages[p.ImportPath] = p
		if p.Name == "main" && len(p.GoFiles)+len(p.CgoFiles) > 0 {
			rel, err := filepath.Rel(m.Dir, p.Dir)
			if err != nil {
				return Module{}, err
			}
			m.Mains = append(m.Mains, Main{Name: nameOfProgram(p.ImportPath), Dir: "./" + filepath.ToSlash(rel), importPath: p.ImportPath})
		}
	}
	for i, main := range m.Mains {
		if main.Dir == "./." {
			m.Mains[i].Dir = "."
		}
	}
	slices.SortFunc(m.Mains, func(a, b Main) int { return strings.Compare(a.Dir, b.Dir) })
	return m, nil
}

// nameOfProgram is the last part of a path that is not a version.
func nameOfProgram(importPath string) string {
	base := path.Base(importPath)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" && path.Dir(importPath) != "." {
		base = path.Base(path.Dir(importPath))
	}
	return base
}

// listPackages lists the module's packages. What does not compile yet is listed, too.
func listPackages(ctx context.Context, dir string) ([]byte, error) {
	return list(ctx, dir, "list", "-e", "-json=Dir,ImportPath,Name,GoFiles,CgoFiles,Imports,Module", "./...")
}

func list(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// Find returns the main package that a person named, by its directory.
func (m Module) Find(dir string) (Main, error) {
	wanted := path.Clean(filepath.ToSlash(dir))
	for _, main := range m.Mains {
		if path.Clean(main.Dir) == wanted {
			return main, nil
		}
	}
	return Main{}, fmt.Errorf("%s is no main package of this module: choose from %s", dir, m.names())
}

// names lists the directories of the main packages.
func (m Module) names() string {
	var dirs []string
	for _, main := range m.Mains {
		dirs = append(dirs, main.Dir)
	}
	return strings.Join(dirs, ", ")
}

// sources returns the packages that a program is made of, as far as they are this
// module's: its own first, and then what it imports.
func (m Module) sources(main Main) []pkg {
	var all []pkg
	seen := map[string]bool{}
	next := []string{main.importPath}
	for len(next) > 0 {
		p, ok := m.packages[next[0]]
		next = next[1:]
		if !ok || seen[p.ImportPath] {
			continue
		}
		seen[p.ImportPath] = true
		all = append(all, p)
		next = append(next, p.Imports...)
	}
	return all
}
