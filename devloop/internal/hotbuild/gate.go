package hotbuild

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"devloop/internal/source"
)

// judge returns the packages to compile after some edits, or in a word or two why
// these change more than that.
func (g *graph) judge(changes []source.Change) (touched []int, reason string) {
	for _, c := range changes {
		file := g.set.Path(c.Path)
		if slices.Contains(g.set.Files, file) {
			return nil, filepath.Base(file) + " changed"
		}
		o, known := g.owners[file]
		switch {
		case c.New || c.At.IsZero() || !known:
			return nil, "files changed"
		case filepath.Ext(file) == ".go" && o.header.known:
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, "files changed"
			}
			if reason := o.header.differs(headerOf(text)); reason != "" {
				return nil, reason
			}
		case !o.embedded:
			return nil, "files changed"
		}
		touched = append(touched, o.packages...)
	}
	return touched, ""
}

// A header is what in a Go file decides what a build consists of. The rest is the
// compiler's alone.
type header struct {
	known       bool
	name        string // in the package clause
	imports     string
	constraints string // the text above the package clause, if it has such
	directives  string // lines with a //go: directive or the like
}

// headerOf returns the header of a file. It is not known if the file does not
// parse as far as its imports.
func headerOf(text []byte) header {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "", text, parser.ImportsOnly)
	if err != nil {
		return header{}
	}
	h := header{known: true, name: parsed.Name.Name}
	var imports strings.Builder
	for _, spec := range parsed.Imports {
		if spec.Name != nil {
			fmt.Fprintf(&imports, "%s ", spec.Name.Name)
		}
		fmt.Fprintln(&imports, spec.Path.Value)
	}
	h.imports = imports.String()
	above := string(text[:files.PositionFor(parsed.Package, false).Offset])
	if strings.Contains(above, "go:") || strings.Contains(above, "+build") {
		h.constraints = above
	}
	// More than the directives: what stands in a text or another comment too.
	var directives strings.Builder
	for line := range strings.Lines(string(text)) {
		for _, mark := range []string{"//go:", "//export ", "//line ", "/*line "} {
			if i := strings.Index(line, mark); i >= 0 {
				fmt.Fprintln(&directives, strings.TrimSpace(line[i:]))
				break
			}
		}
	}
	h.directives = directives.String()
	return h
}

// differs says in a word or two in what another header differs, if it does.
func (h header) differs(other header) string {
	switch {
	case !other.known:
		return "syntax error"
	case h.name != other.name:
		return "package changed"
	case h.imports != other.imports:
		return "imports changed"
	case h.constraints != other.constraints:
		return "constraints changed"
	case h.directives != other.directives:
		return "directives changed"
	}
	return ""
}
