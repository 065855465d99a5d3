package rules

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in docs/architecture.md instead of comparing it")

// architecture is the document with the table of packages.
var architecture = filepath.Join("..", "..", "..", "docs", "architecture.md")

// TestPackageTable: the table in docs/architecture.md shows what each package's
// doc comment says that it does, and what the rules let it import.
func TestPackageTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| package | its job | may import |\n|---|---|---|\n")
	rules := importRules()
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		var imports []string
		for _, own := range rules[name].imports {
			imports = append(imports, "`"+strings.TrimPrefix(own, "internal/")+"`")
		}
		if len(imports) == 0 {
			imports = []string{"none"}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, job(t, filepath.Join("..", "..", name)), strings.Join(imports, ", "))
	}
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- packages devloop:", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	command, rest, more := strings.Cut(rest, "\n")
	got, after, ended := strings.Cut(rest, end)
	if !found || !more || !ended {
		t.Fatalf("%s has no place for the table, between %q and %q", architecture, begin, end)
	}
	if *update {
		written := before + begin + command + "\n" + table.String() + end + after
		if err := os.WriteFile(architecture, []byte(written), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != table.String() {
		t.Errorf("the table in %s is\n%swant, as 'go test ./internal/rules -update' writes it,\n%s", architecture, got, &table)
	}
}

// job returns the first sentence of a package's doc comment, without its subject.
func job(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc != nil {
			return shortened(file)
		}
	}
	t.Errorf("%s has no doc comment", dir)
	return ""
}

func shortened(file *ast.File) string {
	text := (&doc.Package{}).Synopsis(file.Doc.Text())
	words := strings.Fields(text)
	if words[0] == "Package" || words[0] == "Command" {
		words = words[1:]
	}
	text = strings.TrimSuffix(strings.Join(words[1:], " "), ".")
	return strings.ReplaceAll(text, "|", `\|`)
}
