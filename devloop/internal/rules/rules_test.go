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
const module = "devloop/"

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

// An importRule says which of our packages a package may import, and why no
// others.
type importRule struct {
	imports []string
	reason  string
}

// importRules returns the rule of each package, by its path in the module.
func importRules() map[string]importRule {
	return map[string]importRule{
		"internal/control":     {nil, "commands reach the loop without knowing what it does"},
		"internal/dap":         {nil, "a protocol, and not ours"},
		"internal/initialize":  {nil, "it reads a module and writes files, and runs nothing of the loop"},
		"internal/exportdata":  {nil, "it reads what the compiler writes, and runs none"},
		"internal/filenames":   {nil, "it reads programs, and knows nothing of debuggers"},
		"internal/fingerprint": {nil, "it compares files, and runs none"},
		"internal/forward":     {nil, "it passes requests on, and does not know the processes that answer them"},
		"internal/launch":      {nil, "it becomes another program, and must not cost it time"},
		"internal/lines":       {nil, "it compares texts, and knows nothing of debuggers"},
		"internal/listener":    {nil, "it opens sockets, and does not serve on them"},
		"internal/notify":      {nil, "a protocol, and not ours"},
		"internal/process":     {nil, "it starts and ends processes, and does not know their programs"},
		"internal/rules":       {nil, "it holds tests only"},
		"internal/settings":    {nil, "it compares settings, and does not know what they mean"},
		"internal/sockets":     {nil, "it shows what the kernel tells of any process"},
		"internal/source":      {nil, "it reads files, and builds nothing"},
		"internal/testkit":     {nil, "every package's tests may use it"},
		"serve":                {nil, "programs import it, and a copy of its directory must work"},

		"internal/air":     {[]string{"internal/process"}, "it keeps a program running that it neither reads nor steers"},
		"internal/gobuild": {[]string{"internal/process", "internal/source"}, "one build needs no loop around it"},
		"internal/hotbuild": {
			[]string{"internal/exportdata", "internal/gobuild", "internal/process", "internal/source"},
			"one build needs no loop around it",
		},
		"internal/report": {[]string{"internal/source"}, "it prints events, and causes none"},
		"internal/relay":  {[]string{"internal/dap", "internal/filenames", "internal/lines"}, "it sees the server, the debugger and the loop by interfaces"},
		"internal/delve":  {[]string{"internal/process", "internal/relay"}, "it starts debuggers for the relay, which has the sessions"},
		"internal/supervisor": {
			[]string{
				"internal/fingerprint", "internal/forward", "internal/launch", "internal/notify", "internal/process",
				"internal/sockets",
			}, "it keeps a binary serving, and does not build",
		},
		"internal/loop": {
			[]string{"internal/gobuild", "internal/process", "internal/report", "internal/source", "internal/supervisor"},
			"it turns edits into reloads, and knows neither who reports an edit nor who debugs",
		},
		"cmd/devloop": {
			[]string{
				"internal/air", "internal/control", "internal/delve", "internal/filenames", "internal/gobuild", "internal/initialize",
				"internal/listener",
				"internal/loop", "internal/process", "internal/relay", "internal/report", "internal/settings", "internal/supervisor",
			}, "it wires everything together",
		},
	}
}

// TestImportDirections holds each package to its rule.
func TestImportDirections(t *testing.T) {
	rules := importRules()
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		rule, ok := rules[name]
		if !ok {
			t.Errorf("%s has no rule here: say what it may import, and why", name)
			continue
		}
		delete(rules, name)
		var own []string
		for _, imported := range p.Imports {
			if short, ok := strings.CutPrefix(imported, module); ok {
				own = append(own, short)
			}
		}
		for _, imported := range own {
			if !slices.Contains(rule.imports, imported) {
				t.Errorf("%s imports %s, but %s", name, imported, rule.reason)
			}
		}
		for _, allowed := range rule.imports {
			if !slices.Contains(own, allowed) {
				t.Errorf("%s may import %s, and does not: remove it from the rule", name, allowed)
			}
		}
	}
	for name := range rules {
		t.Errorf("a rule is about %s, which does not exist", name)
	}
}

// TestNoTestCodeIsLinked keeps what only tests need out of the program.
func TestNoTestCodeIsLinked(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"cmd/devloop" {
			continue
		}
		for _, dep := range p.Deps {
			if dep == "testing" || dep == module+"internal/testkit" || strings.HasPrefix(dep, "github.com/rogpeppe/") {
				t.Errorf("%s links %s, which is for tests", p.ImportPath, dep)
			}
		}
		return
	}
	t.Error("the module has no program")
}

// TestEveryPackageHasADocComment wants one package comment in each package.
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

// TestNoPackageKeepsState finds package variables, which outlive a test and tie
// together callers that do not know each other. Errors and regular expressions
// may be variables: Go has no constants of these types.
func TestNoPackageKeepsState(t *testing.T) {
	allowed := map[string]string{
		"testkit.serverFiles":  "the compiler fills it",
		"initialize.templates": "the compiler fills it",
		"testkit.programs":     "the tests of one package share the programs that they build",
	}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, ident := range variables(file) {
				full := p.Name + "." + ident
				if _, ok := allowed[full]; !ok {
					t.Errorf("%s keeps the variable %s", p.ImportPath, full)
				}
				delete(allowed, full)
			}
		}
	}
	for full := range allowed {
		t.Errorf("%s is allowed, and does not exist", full)
	}
}

// variables returns the names of a file's package variables but for those that
// are as good as constants.
func variables(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			values := spec.(*ast.ValueSpec)
			for i, ident := range values.Names {
				constant := i < len(values.Values) && isConstant(values.Values[i])
				if ident.Name != "_" && !constant {
					names = append(names, ident.Name)
				}
			}
		}
	}
	return names
}

// isConstant reports whether a value is an error or a regular expression.
func isConstant(value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := called.X.(*ast.Ident)
	return ok && slices.Contains([]string{"errors.New", "regexp.MustCompile"}, from.Name+"."+called.Sel.Name)
}

// TestVariables checks what TestNoPackageKeepsState looks for.
func TestVariables(t *testing.T) {
	const source = `package p

import "errors"

var (
	errA    = errors.New("a")
	b, errC = 1, errors.New("c")
	d       map[string]int
	_       = b
)

var e = other.New("e")
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := variables(file), []string{"b", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("variables(source) = %q, want %q", got, want)
	}
}
