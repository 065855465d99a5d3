package initialize

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Kind is where a program's address comes from.
type Kind int

// The kinds, from the one that suits the loop most.
const (
	Socket   Kind = iota // it serves on a socket that it inherits
	Flag                 // a command-line flag has it
	Variable             // a variable of the environment has it
	Fixed                // it is written in the source
	Unknown              // it comes from elsewhere, such as a file
)

// A Listen is a place where a program listens.
type Listen struct {
	Kind    Kind
	Name    string // of the flag, with its dashes, or of the variable
	Port    bool   // the flag or variable has the port only
	Default string // the address without it, as far as the source tells: ":8080"
	Where   string // file:line, relative to the module

	// Candidates are variables that may have the address of a program whose Kind is
	// Unknown.
	Candidates []string
}

// Listens reads where a program listens. The places come in the order of their Kind.
func (m Module) Listens(main Main) []Listen {
	s := &source{module: m, fset: token.NewFileSet()}
	for _, p := range m.sources(main) {
		for _, name := range append(slices.Clone(p.GoFiles), p.CgoFiles...) {
			// A file with an error still has the parts before it.
			if file, _ := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution); file != nil {
				s.files = append(s.files, file)
			}
		}
	}
	var found []Listen
	add := func(at token.Pos, l Listen) {
		if l.Kind == Fixed && strings.HasSuffix(l.Default, ":0") {
			return // any free port stands in no one's way
		}
		l.Where = s.where(at)
		same := func(o Listen) bool { return o.Kind == l.Kind && o.Name == l.Name && o.Default == l.Default }
		if !slices.ContainsFunc(found, same) {
			found = append(found, l)
		}
	}
	for _, file := range s.files {
		if at, ok := inherits(file); ok {
			add(at, Listen{Kind: Socket})
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if address, ok := listenCall(file, n); ok {
					add(n.Pos(), s.address(address))
				}
			case *ast.CompositeLit:
				if address, ok := serverLiteral(n); ok {
					add(address.Pos(), s.address(address))
				}
			}
			return true
		})
	}
	// What a helper function listens on is seen at its callers, too.
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(l Listen) bool { return l.Kind == Unknown })
	}
	if len(found) == 0 {
		found = []Listen{{Kind: Unknown, Where: main.Dir}}
	}
	if found[0].Kind == Unknown {
		found[0].Candidates = s.candidates()
	}
	slices.SortStableFunc(found, func(a, b Listen) int { return cmp.Compare(a.Kind, b.Kind) })
	return found
}

// source is what a program was written in.
type source struct {
	module Module
	fset   *token.FileSet
	files  []*ast.File
	seen   map[string]bool // the names that are followed for one address
}

func (s *source) where(at token.Pos) string {
	position := s.fset.Position(at)
	rel, err := filepath.Rel(s.module.Dir, position.Filename)
	if err != nil {
		rel = position.Filename
	}
	return fmt.Sprintf("%s:%d", filepath.ToSlash(rel), position.Line)
}

// inherits reports whether a file uses the sockets of a service manager.
func inherits(file *ast.File) (token.Pos, bool) {
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		isServe := name == "devloop/serve" || strings.HasSuffix(name, "/devloop/serve")
		if isServe || strings.Contains(name, "go-systemd") && path.Base(name) == "activation" {
			return spec.Pos(), true
		}
	}
	at := token.NoPos
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && (lit.Value == `"LISTEN_FDS"` || lit.Value == `"LISTEN_PID"`) {
			at = lit.Pos()
		}
		return at == token.NoPos
	})
	return at, at != token.NoPos
}

// listenCall returns the address of a call that listens. Methods are known by their
// names, and by a package that the file imports.
func listenCall(file *ast.File, call *ast.CallExpr) (ast.Expr, bool) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil, false
	}
	arg := func(i int) (ast.Expr, bool) {
		if i >= len(call.Args) {
			return nil, false
		}
		return call.Args[i], true
	}
	on, _ := selector.X.(*ast.Ident)
	isPackage := on != nil && imports(file, on.Name)
	switch name := selector.Sel.Name; {
	case isPackage && (name == "ListenAndServe" || name == "ListenAndServeTLS"): // http's, fasthttp's
		return arg(0)
	case name == "Listen" && isPackage && (on.Name == "net" || on.Name == "tls"):
		if network, ok := arg(0); !ok || !isTCP(network) {
			return nil, false
		}
		return arg(1)
	case name == "Listen" && len(call.Args) == 3 && isTCP(call.Args[1]): // net.ListenConfig's
		return arg(2)
	case (name == "Run" || name == "RunTLS") && imports(file, "gin"):
		if len(call.Args) == 0 {
			return ginDefault(call.Pos()), true
		}
		return arg(0)
	case (name == "Start" || name == "StartTLS") && (imports(file, "echo") || imports(file, "v4")):
		return arg(0)
	case name == "Listen" && imports(file, "fiber"):
		return arg(0)
	}
	return nil, false
}

// ginDefault is what gin's Run without arguments stands for: the port in PORT.
func ginDefault(at token.Pos) ast.Expr {
	return &ast.CallExpr{
		Fun:  &ast.SelectorExpr{X: &ast.Ident{NamePos: at, Name: "os"}, Sel: &ast.Ident{Name: "Getenv"}},
		Args: []ast.Expr{&ast.BasicLit{Kind: token.STRING, Value: `"PORT"`}},
	}
}

// isTCP reports whether a network may be TCP: it is not known to be another one.
func isTCP(e ast.Expr) bool {
	text, ok := literal(e)
	return !ok || strings.HasPrefix(text, "tcp")
}

// imports reports whether a file imports a package by this name, as far as the path
// tells it.
func imports(file *ast.File, name string) bool {
	for _, spec := range file.Imports {
		if spec.Name != nil {
			if spec.Name.Name == name {
				return true
			}
			continue
		}
		p, _ := strconv.Unquote(spec.Path.Value)
		base := path.Base(p)
		if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
			base = path.Base(path.Dir(p)) // github.com/labstack/echo/v4
		}
		if base == name {
			return true
		}
	}
	return false
}

// serverLiteral returns the address in an http.Server{Addr: …}.
func serverLiteral(lit *ast.CompositeLit) (ast.Expr, bool) {
	selector, ok := lit.Type.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Server" {
		return nil, false
	}
	if on, ok := selector.X.(*ast.Ident); !ok || on.Name != "http" {
		return nil, false
	}
	for _, element := range lit.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "Addr" {
				return pair.Value, true
			}
		}
	}
	return nil, false
}

// literal returns the value of a string or number that is written out.
func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return "", false
	}
	switch lit.Kind {
	case token.STRING:
		text, err := strconv.Unquote(lit.Value)
		return text, err == nil
	case token.INT:
		return lit.Value, true
	}
	return "", false
}
