// Package rules checks what holds for the module as a whole.
package rules

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the prefix of our own packages.
const module = "workspace-server/"

type pkg struct {
	Dir, ImportPath, Name string
	GoFiles               []string
	Imports, Deps         []string
}

// packages lists the module's packages, without their tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,Name,GoFiles,Imports,Deps", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestImportDirections holds each package's imports to importRules.
func TestImportDirections(t *testing.T) {
	rules := importRules()
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		rule, ok := rules[name]
		if !ok {
			t.Errorf("%s has no rule: add one to importRules that says what it may import, and why", name)
		}
		delete(rules, name)
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "devloop/") && imported != "devloop/serve" {
				t.Errorf("%s imports %s, but the loop is for development", name, imported)
			}
			own, ok := strings.CutPrefix(imported, module)
			if ok && !slices.Contains(rule.imports, own) {
				t.Errorf("%s imports %s, but %s", name, own, rule.reason)
			}
		}
		for _, own := range rule.imports {
			if !slices.Contains(p.Imports, module+own) {
				t.Errorf("%s may import %s, but does not: remove that from its rule", name, own)
			}
		}
	}
	for name := range rules {
		t.Errorf("importRules has %s, which is no package", name)
	}
}

// What the program must not link, directly or not: each of these is paid for
// at every reload.
func TestNothingHeavyIsLinked(t *testing.T) {
	heavy := map[string]string{
		"html/template": "the API answers JSON",
		"text/template": "it keeps the linker from dropping methods that no one calls",
		"testing":       "it is for tests",
		"plugin":        "it keeps the linker from dropping anything",
		"net/rpc":       "nothing speaks it",
		"expvar":        "it registers itself on a global mux",

		"github.com/rogpeppe/go-internal/testscript": "it is for tests",
	}
	for _, p := range packages(t) {
		if p.ImportPath != module+"cmd/workspace-server" {
			continue
		}
		for _, dep := range p.Deps {
			if reason, ok := heavy[dep]; ok {
				t.Errorf("%s links %s: %s", p.ImportPath, dep, reason)
			}
		}
		if i := slices.Index(p.Deps, module+"internal/store/storetest"); i >= 0 {
			t.Error("the program links the tests' database helper")
		}
	}
	for _, p := range packages(t) {
		if p.ImportPath == module+"internal/api" && slices.ContainsFunc(p.Deps, func(dep string) bool {
			return dep == "database/sql" || strings.HasPrefix(dep, "github.com/lib/pq") || strings.HasPrefix(dep, "modernc.org/")
		}) {
			t.Error("internal/api depends on a database driver")
		}
	}
}

func TestEveryPackageHasADocComment(t *testing.T) {
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		documented := 0
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil && len(file.Doc.Text()) > 40 {
				documented++
			}
		}
		if documented != 1 {
			t.Errorf("%s has a package comment in %d files, want 1", p.ImportPath, documented)
		}
	}
}

// State that packages keep in variables outlives tests, and is shared by what
// knows nothing of each other.
func TestNoPackageKeepsState(t *testing.T) {
	constant := map[string]string{
		"migrations.Files": "filled by the compiler",
		"openapi.Document": "filled by the compiler",
		"main.version":     "set by the linker",
	}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				gen, ok := decl.(*ast.GenDecl)
				if !ok || gen.Tok != token.VAR {
					continue
				}
				for _, spec := range gen.Specs {
					for _, ident := range spec.(*ast.ValueSpec).Names {
						full := p.Name + "." + ident.Name
						if _, ok := constant[full]; !ok && ident.Name != "_" {
							t.Errorf("%s keeps the variable %s", p.ImportPath, full)
						}
					}
				}
			}
		}
	}
}
