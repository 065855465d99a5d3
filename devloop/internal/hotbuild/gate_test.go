package hotbuild

import (
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	const before = `// Copyright.

//go:build linux

// Package p is one.
package p

import (
	"fmt"
	q "strings"
)

//go:noinline
func F() { fmt.Println(q.ToUpper("a")) }
`
	tests := []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"a body", `"a"`, `"b", 1`, ""},
		{"a body that does not compile", "fmt.Println(", "fmt.Println((", ""},
		{"a new function behind a directive, which the compiler sees", "func F", "func G() {}\n\nfunc F", ""},
		{"a comment below", "func F", "// F is one.\nfunc F", ""},
		{"a comment above", "Copyright", "Copyleft", "constraints changed"},
		{"a package comment", "is one", "is two", "constraints changed"},
		{"the package", "package p", "package r", "package changed"},
		{"an import", `"fmt"`, `"fmt"` + "\n\t\"os\"", "imports changed"},
		{"an import less", "\t\"fmt\"\n", "", "imports changed"},
		{"an import's name", "q \"", "r \"", "imports changed"},
		{"an import's alignment", "q \"", "q   \"", ""},
		{"C", `"fmt"`, `"C"`, "imports changed"},
		{"a constraint", "linux", "!linux", "constraints changed"},
		{"a constraint gone", "//go:build linux", "", "constraints changed"},
		{"an old constraint", "// Copyright.", "// +build linux", "constraints changed"},
		{"a directive", "//go:noinline", "//go:nosplit", "directives changed"},
		{"a directive more", "func F", "//go:norace\nfunc F", "directives changed"},
		{"a directive less", "//go:noinline\n", "", "directives changed"},
		{"an embedded pattern", "func F", "//go:embed x\nvar x string\n\nfunc F", "directives changed"},
		{"a link name", "func F", "//go:linkname F g\nfunc F", "directives changed"},
		{"what looks like a directive", `"a"`, `"//go:noinline"`, "directives changed"},
		{"an exported name", "func F", "//export F\nfunc F", "directives changed"},
		{"other lines", "func F", "//line x.go:1\nfunc F", "directives changed"},
		{"no clause", "package p", "packag p", "syntax error"},
		{"half an import", `q "strings"`, `q "strings`, "syntax error"},
		{"nothing left", before, "", "syntax error"},
	}
	for _, tt := range tests {
		after := strings.Replace(before, tt.old, tt.new, 1)
		if got := headerOf([]byte(before)).differs(headerOf([]byte(after))); got != tt.want {
			t.Errorf("after an edit of %s differs() = %q, want %q", tt.name, got, tt.want)
		}
	}
	if headerOf([]byte("nonsense")).known {
		t.Error("the header of nonsense is known")
	}
}
