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

// Which of our packages a package may import. Whatever is not here may be
// imported by none.
func TestImportDirections(t *testing.T) {
	allowed := map[string]struct {
		imports []string
		reason  string
	}{
		"internal/workspace": {nil, "the domain can be read, and tested, without anything else"},
		"internal/config":    {nil, "settings are known before anything else is"},
		"internal/feed":      {nil, "who waits need not know for what"},
		"internal/leak":      {nil, "every package's tests may use it"},
		"internal/logtest":   {nil, "every package's tests may use it"},
		"internal/metrics":   {nil, "it counts and writes, whatever is counted"},
		"internal/migrate":   {nil, "a schema is older than what is stored by it"},
		"internal/provision": {nil, "a driver can be written, and tested, without the rest of the server"},
		"internal/reconcile": {
			[]string{"internal/provision", "internal/workspace"}, "it sees storage, and what runs workspaces, by interfaces",
		},
		"internal/provision/provisiontest": {
			[]string{"internal/provision", "internal/systemd"}, "it holds tests, and the agent that they run",
		},
		"internal/provision/process": {
			[]string{"internal/private", "internal/provision"}, "a driver knows of no server, and writes its records whole or not at all",
		},
		"internal/launch": {
			[]string{"internal/provision", "internal/templates", "internal/token", "internal/workspace"},
			"it puts together what others keep, and sees them by interfaces",
		},
		"internal/provision/docker": {
			[]string{"internal/provision", "internal/workspace"}, "it knows an engine, and nothing of who asks for workspaces or why",
		},
		"internal/agent":     {[]string{"internal/systemd"}, "another agent takes its place, and knows nothing of the server's code"},
		"internal/openapi":   {nil, "it is a document, and knows no server"},
		"internal/ratelimit": {nil, "it counts, whatever it is that is counted"},
		"internal/client": {
			[]string{"internal/secret", "internal/token", "internal/workspace"}, "it speaks HTTP, and knows no server's insides and no terminal",
		},
		"internal/cli": {
			[]string{
				"internal/bootstrap", "internal/client", "internal/config", "internal/private", "internal/secret", "internal/token", "internal/workspace",
			}, "it knows of a server what can be asked for, and where its first token lies",
		},
		"internal/rules":     {nil, "it holds tests only"},
		"internal/server":    {nil, "connections are drained whatever is served on them"},
		"internal/sweep":     {nil, "it knows when, and is told what to remove"},
		"internal/stream":    {nil, "it writes, whatever is written"},
		"internal/tail":      {[]string{"internal/workspace"}, "it reads events ahead for others, whoever they are"},
		"internal/systemd":   {nil, "a protocol, and not ours"},
		"internal/trace":     {nil, "a standard, and not ours"},
		"migrations":         {nil, "only files"},
		"internal/catalog":   {[]string{"internal/workspace"}, "how descriptions are read is the same whatever they describe"},
		"internal/templates": {[]string{"internal/catalog", "internal/workspace"}, "it reads files, and knows no database and no HTTP"},
		"internal/token":     {[]string{"internal/workspace"}, "who may call can be read, and tested, without a database and HTTP"},
		"internal/a2a":       {[]string{"internal/stream", "internal/trace", "internal/workspace"}, "whom to deliver a message to is found out by others"},
		"internal/bootstrap": {[]string{"internal/private", "internal/token"}, "it writes one file, and sees storage by an interface of its own"},
		"internal/secret":    {[]string{"internal/workspace"}, "ciphers can be read, and tested, without a database and files"},
		"internal/vault": {
			[]string{"internal/private", "internal/secret", "internal/workspace"}, "it keeps keys in a file, and sees storage by an interface",
		},
		"internal/plugins": {
			[]string{"internal/catalog", "internal/tree", "internal/workspace"}, "it reads files, and knows no database and no HTTP",
		},
		"internal/tree": {[]string{"internal/workspace"}, "what files there may be is the same wherever they are kept"},
		"internal/files": {
			[]string{"internal/private", "internal/tree", "internal/workspace"}, "it keeps files, and knows no database, no HTTP and no template",
		},
		"internal/private": {nil, "a file, whatever is in it"},
		"internal/store": {
			[]string{"internal/secret", "internal/token", "internal/workspace"}, "it stores the domain, and knows nothing of who asks",
		},
		"internal/store/storetest": {
			[]string{"internal/store", "internal/migrate", "migrations"}, "tests need a database with its schema",
		},
		"internal/api": {
			[]string{
				"internal/a2a", "internal/feed", "internal/files", "internal/metrics", "internal/openapi", "internal/plugins",
				"internal/ratelimit", "internal/secret", "internal/stream", "internal/tail", "internal/templates", "internal/token", "internal/trace",
				"internal/tree", "internal/workspace",
			},
			"it sees storage by the domain's interfaces only, so that no driver is compiled or linked for its sake",
		},
		"cmd/workspace-server": {
			[]string{
				"internal/a2a", "internal/agent", "internal/api", "internal/bootstrap", "internal/cli", "internal/config",
				"internal/feed", "internal/files", "internal/launch", "internal/migrate", "internal/plugins",
				"internal/provision", "internal/provision/docker", "internal/provision/process", "internal/reconcile",
				"internal/server", "internal/store", "internal/sweep", "internal/systemd", "internal/tail",
				"internal/templates", "internal/token", "internal/vault", "internal/workspace", "migrations",
			}, "it wires everything together",
		},
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		rule, ok := allowed[name]
		if !ok {
			t.Errorf("%s has no rule here: say what it may import, and why", name)
		}
		for _, imported := range p.Imports {
			own, ok := strings.CutPrefix(imported, module)
			if ok && !slices.Contains(rule.imports, own) {
				t.Errorf("%s imports %s, but %s", name, own, rule.reason)
			}
		}
	}
}

// What the program must not link, directly or not: each of these is paid for
// at every reload.
func TestNothingHeavyIsLinked(t *testing.T) {
	heavy := map[string]string{
		"html/template": "the API answers JSON",
		"text/template": "it keeps the linker from dropping methods that nobody calls",
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
