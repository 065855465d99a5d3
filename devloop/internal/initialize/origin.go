package initialize

import (
	"cmp"
	"go/ast"
	"go/token"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// origin is where a value comes from.
type origin struct {
	kind  Kind
	name  string
	value string // the default of a flag or variable, or the value itself
}

// maxDepth bounds how far a value is followed through variables and parameters.
const maxDepth = 8

// address follows the expression of an address to where its port comes from.
func (s *source) address(e ast.Expr) Listen {
	port, partly := portOf(e)
	s.seen = map[string]bool{}
	found := s.origins(port, maxDepth)
	if len(found) == 0 {
		return Listen{Kind: Unknown}
	}
	// What a variable is set to last counts least here: a flag or a variable of the
	// environment can be told, and a value that is written out is its default.
	slices.SortStableFunc(found, func(a, b origin) int {
		return cmp.Or(cmp.Compare(other(a), other(b)), cmp.Compare(a.kind, b.kind))
	})
	best := found[0]
	for _, o := range found {
		if best.value == "" && other(o) == other(best) {
			best.value = o.value
		}
	}
	l := Listen{Kind: best.kind, Name: best.name, Default: best.value}
	isNumber := l.Default != "" && strings.Trim(l.Default, "0123456789") == ""
	l.Port = partly || isNumber || l.Default == "" && strings.HasSuffix(strings.ToUpper(l.Name), "PORT")
	if isNumber {
		l.Default = ":" + l.Default
	}
	return l
}

// isPort reports whether a text can be an address or the port of one.
func isPort(text string) bool {
	if _, port, err := net.SplitHostPort(text); err == nil {
		text = port
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && (n == 0 || n >= 80) || text == "http" || text == "https"
}

// others are words in the names of settings for ports that the program calls, or that
// are not its main one.
var others = regexp.MustCompile(`(?i)db|database|postgres|pg_|mysql|redis|smtp|mail|kafka|mongo|nats|amqp|metrics|debug|pprof`)

// other returns 1 for a value that is probably another thing's port, and else 0.
func other(o origin) int {
	if others.MatchString(o.name) {
		return 1
	}
	return 0
}

var portVariable = regexp.MustCompile(`^[A-Z0-9_]*(PORT|ADDR|LISTEN|BIND)[A-Z0-9_]*$`)

// candidates returns the variables that a program names and that may have its address.
func (s *source) candidates() []string {
	var names []string
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok {
				return true
			}
			name, ok := literal(lit)
			if ok && portVariable.MatchString(name) && isVariable(name) && !others.MatchString(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
			return true
		})
	}
	return names
}

// portOf returns the part of an address's expression that has the port, and whether
// that is not the whole.
func portOf(e ast.Expr) (ast.Expr, bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return portOf(e.X)
	case *ast.BinaryExpr: // host + ":" + port
		if e.Op == token.ADD {
			if text, ok := literal(e.X); ok && !strings.Contains(text, ":") {
				return e, false
			}
			port, _ := portOf(e.Y)
			return port, true
		}
	case *ast.CallExpr:
		name := called(e)
		if (name == "Sprintf" || name == "JoinHostPort" || name == "Sprint") && len(e.Args) > 0 {
			port, _ := portOf(e.Args[len(e.Args)-1])
			format, ok := literal(e.Args[0])
			whole := name == "Sprintf" && ok && !strings.Contains(format, ":")
			return port, !whole
		}
		if (name == "Itoa" || name == "FormatInt" || name == "string") && len(e.Args) > 0 {
			return portOf(e.Args[0])
		}
	}
	return e, false
}

// called returns the name of the function or method that a call calls.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// origins returns where a value may come from, by the names in the program: without
// types, two variables of one name count as one.
func (s *source) origins(e ast.Expr, depth int) []origin {
	if depth == 0 || e == nil {
		return nil
	}
	if text, ok := literal(e); ok {
		if !isPort(text) {
			return nil
		}
		return []origin{{Fixed, "", text}}
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.origins(e.X, depth)
	case *ast.StarExpr:
		return s.origins(e.X, depth)
	case *ast.UnaryExpr:
		return s.origins(e.X, depth)
	case *ast.BinaryExpr:
		port, _ := portOf(e)
		if port != e {
			return s.origins(port, depth-1)
		}
	case *ast.CallExpr:
		return s.ofCall(e, depth)
	case *ast.Ident:
		return s.named(e.Name, depth)
	case *ast.SelectorExpr:
		return s.named(e.Sel.Name, depth)
	}
	return nil
}

// ofCall is origins for a call.
func (s *source) ofCall(call *ast.CallExpr, depth int) []origin {
	name := called(call)
	if o, ok := s.flagCall(call); ok {
		return []origin{o}
	}
	if strings.Contains(strings.ToLower(name), "env") && len(call.Args) > 0 { // os.Getenv, and helpers of such names
		if variable, ok := s.text(call.Args[0]); ok && isVariable(variable) {
			o := origin{kind: Variable, name: variable}
			if len(call.Args) > 1 {
				o.value = s.value(call.Args[1])
			}
			return []origin{o}
		}
	}
	if port, _ := portOf(call); port != ast.Expr(call) {
		return s.origins(port, depth-1)
	}
	// A function of the program: what it returns, and what it is given.
	var found []origin
	for _, arg := range call.Args {
		for _, o := range s.origins(arg, depth-1) {
			if o.kind != Fixed { // such a value may mean anything
				found = append(found, o)
			}
		}
	}
	for _, file := range s.files {
		for _, decl := range file.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Name.Name != name || function.Body == nil {
				continue
			}
			ast.Inspect(function.Body, func(n ast.Node) bool {
				if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) > 0 {
					found = append(found, s.origins(r.Results[0], depth-1)...)
				}
				return true
			})
		}
	}
	return found
}

// value returns what a default probably is, or "".
func (s *source) value(e ast.Expr) string {
	seen := s.seen
	defer func() { s.seen = seen }()
	s.seen = map[string]bool{}
	for _, o := range s.origins(e, 4) {
		if o.value != "" {
			return o.value
		}
	}
	return ""
}

var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

func isVariable(name string) bool { return variableName.MatchString(name) }

// text returns the value of a string constant.
func (s *source) text(e ast.Expr) (string, bool) {
	if text, ok := literal(e); ok {
		return text, true
	}
	name := nameOf(e)
	text, found := "", false
	for _, file := range s.files {
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			for _, spec := range gen.Specs {
				for i, left := range spec.(*ast.ValueSpec).Names {
					if left.Name == name && i < len(spec.(*ast.ValueSpec).Values) {
						text, found = literal(spec.(*ast.ValueSpec).Values[i])
					}
				}
			}
		}
	}
	return text, found
}

var (
	flagMaker   = regexp.MustCompile(`^(String|Int|Int64|Uint|Uint16)(P?)$`)
	flagSetter  = regexp.MustCompile(`^(String|Int|Int64|Uint|Uint16|Text)Var(P?)$`)
	flagPackage = regexp.MustCompile(`(?i)flag|^f$|^fs$|^fl$`)
)

// flagCall reads a call that defines a flag and returns it, of flag, pflag or cobra.
func (s *source) flagCall(call *ast.CallExpr) (origin, bool) {
	m := flagMaker.FindStringSubmatch(called(call))
	if m == nil || !onFlags(call) {
		return origin{}, false
	}
	return s.flagOf(call, 0, m[2] == "P")
}

// flagOf reads a flag whose name is the call's argument i. Shorthands follow the name.
func (s *source) flagOf(call *ast.CallExpr, i int, short bool) (origin, bool) {
	if i >= len(call.Args) {
		return origin{}, false
	}
	name, ok := literal(call.Args[i])
	if !ok || name == "" {
		return origin{}, false
	}
	dashes := "-"
	if short || onCommand(call) {
		dashes = "--"
	}
	o := origin{kind: Flag, name: dashes + name}
	if i++; short {
		i++
	}
	if i < len(call.Args) {
		o.value = s.value(call.Args[i])
	}
	return o, true
}

// onFlags reports whether a call is a method of what is called like a set of flags.
func onFlags(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch on := selector.X.(type) {
	case *ast.Ident:
		return flagPackage.MatchString(on.Name)
	case *ast.CallExpr:
		return strings.Contains(called(on), "Flags")
	case *ast.SelectorExpr:
		return flagPackage.MatchString(on.Sel.Name)
	}
	return false
}

// onCommand reports whether a call is a method of cobra's cmd.Flags(), or of pflag.
func onCommand(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	if on, ok := selector.X.(*ast.Ident); ok {
		return on.Name == "pflag"
	}
	_, ok = selector.X.(*ast.CallExpr)
	return ok
}

// named returns what variables, fields and parameters of a name are set to.
func (s *source) named(name string, depth int) []origin {
	if name == "_" || depth == 0 || s.seen[name] {
		return nil
	}
	s.seen[name] = true
	var found []origin
	add := func(e ast.Expr) { found = append(found, s.origins(e, depth-1)...) }
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if nameOf(left) != name {
						continue
					}
					if len(n.Rhs) == len(n.Lhs) {
						add(n.Rhs[i])
					} else if i == 0 {
						add(n.Rhs[0]) // value, ok := os.LookupEnv(…)
					}
				}
			case *ast.ValueSpec:
				for i, left := range n.Names {
					if left.Name == name && i < len(n.Values) {
						add(n.Values[i])
					}
				}
			case *ast.KeyValueExpr:
				if nameOf(n.Key) == name {
					add(n.Value)
				}
			case *ast.Field:
				found = append(found, tagged(n, name)...)
			case *ast.FuncDecl:
				for i, parameter := range parameters(n) {
					if parameter == name {
						s.arguments(n.Name.Name, i, add)
					}
				}
			case *ast.CallExpr:
				if m := flagSetter.FindStringSubmatch(called(n)); m != nil && len(n.Args) > 1 && onFlags(n) {
					if pointer, ok := n.Args[0].(*ast.UnaryExpr); ok && nameOf(pointer.X) == name {
						if o, ok := s.flagOf(n, 1, m[2] == "P"); ok {
							found = append(found, o)
						}
					}
				}
			}
			return true
		})
	}
	return found
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// tagged reads a field whose tag names a variable, as caarlos0/env, envconfig and
// others do, or a flag (kong, go-arg).
func tagged(field *ast.Field, name string) []origin {
	if field.Tag == nil || len(field.Names) != 1 || field.Names[0].Name != name {
		return nil
	}
	text, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		return nil
	}
	tag := reflect.StructTag(text)
	value := cmp.Or(tag.Get("envDefault"), tag.Get("env-default"), tag.Get("default"))
	for _, key := range []string{"env", "envconfig"} {
		variable, options, _ := strings.Cut(tag.Get(key), ",")
		if value == "" {
			if _, after, ok := strings.Cut(options, "default="); ok {
				value = after
			}
		}
		if isVariable(variable) {
			return []origin{{Variable, variable, value}}
		}
	}
	return nil
}

// parameters returns the names of a function's parameters, by their place.
func parameters(function *ast.FuncDecl) []string {
	var names []string
	for _, field := range function.Type.Params.List {
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
		if len(field.Names) == 0 {
			names = append(names, "_")
		}
	}
	return names
}

// arguments passes on what callers of a function give for its parameter i.
func (s *source) arguments(function string, i int, add func(ast.Expr)) {
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && called(call) == function && i < len(call.Args) {
				add(call.Args[i])
			}
			return true
		})
	}
}
