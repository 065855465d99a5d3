package tree

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
	"unicode/utf8"

	"workspace-server/internal/workspace"
)

func TestCheckPath(t *testing.T) {
	tests := []struct{ path, want string }{
		{"a", ""},
		{"prompts/system.md", ""},
		{".env", ""},
		{"...", ""},
		{"a..b/..c/d..", ""},
		{"with space", ""},
		{"日本/ü.txt", ""},
		{"%2e%2e/%2fetc", ""}, // a percent sign is one
		{"．．／etc", ""},        // they look like dots and a slash, and are none
		{strings.Repeat("n", MaxName), ""},
		{strings.Repeat("d/", MaxDepth-1) + "f", ""},
		{"", "an empty name"},
		{"/", "an empty name"},
		{"/etc/passwd", "an empty name"},
		{"a/", "an empty name"},
		{"a//b", "an empty name"},
		{".", `the name "."`},
		{"..", `the name ".."`},
		{"../a", `the name ".."`},
		{"a/../../b", `the name ".."`},
		{"a/./b", `the name "."`},
		{"a/..", `the name ".."`},
		{`..\..\etc`, "a backslash"},
		{`C:\x`, "a backslash"},
		{"a\x00b", "cannot be printed"},
		{"a\n", "cannot be printed"},
		{"\u202egnp.exe", "cannot be printed"}, // turns the direction of what follows
		{".\u200b.", "cannot be printed"},      // no width
		{"a\u2028", "cannot be printed"},       // a line's end
		{"a\u00a0b", "cannot be printed"},      // another space
		{"\xc0\xae\xc0\xae/x", "UTF-8"},        // dots, made longer than they are
		{"\xff", "UTF-8"},
		{strings.Repeat("n", MaxName+1), "more than 255 bytes"},
		{strings.Repeat("ü", MaxName/2+1), "more than 255 bytes"},
		{strings.Repeat("d/", MaxDepth) + "f", "more than 16 names"},
		{strings.Repeat("n/", MaxPath), "longer than 1024 bytes"},
	}
	for _, tt := range tests {
		err := CheckPath(tt.path)
		if tt.want == "" && err != nil || tt.want != "" && (workspace.KindOf(err) != workspace.Invalid || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("CheckPath(%.60q) = %v, want %q", tt.path, err, tt.want)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, seed := range []string{"a/b", "../a", "/a", "a//b", "a/./b", `a\b`, "a\x00", "\xc0\xae", "%2e%2e", "．．", "a/..", strings.Repeat("a/", 20)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := CheckPath(name)
		if err != nil {
			if workspace.KindOf(err) != workspace.Invalid || !utf8.ValidString(workspace.Message(err)) {
				t.Errorf("CheckPath(%q) = %v, want it to be Invalid, in UTF-8", name, err)
			}
			return
		}
		// What is let through is one plain path, which io/fs takes as well.
		if !fs.ValidPath(name) || name == "." || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, `\`) || len(name) > MaxPath {
			t.Errorf("CheckPath(%q) lets it through", name)
		}
	})
}

func TestRead(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	many := func(n, size int) fstest.MapFS {
		all := fstest.MapFS{}
		for i := range n {
			all[fmt.Sprint(i)] = &fstest.MapFile{Data: make([]byte, size), Mode: 0o644}
		}
		return all
	}
	tests := []struct {
		call string
		fsys fstest.MapFS
		want string // the paths, or the error
	}{
		{"nothing", fstest.MapFS{}, ""},
		{"in the order of paths", fstest.MapFS{"a/b": file(""), "a-b": file(""), "a/a": file("")}, "a-b a/a a/b"},
		{"executable", fstest.MapFS{"run": {Mode: 0o755}}, "run*"},
		{"a link", fstest.MapFS{"a": file(""), "b": {Data: []byte("a"), Mode: fs.ModeSymlink}}, `"b" is neither a file nor a directory`},
		{"a link in a directory", fstest.MapFS{"d/b": {Data: []byte("/etc"), Mode: fs.ModeSymlink}}, `"d/b" is neither`},
		{"a pipe", fstest.MapFS{"p": {Mode: fs.ModeNamedPipe}}, `"p" is neither`},
		{"a device", fstest.MapFS{"p": {Mode: fs.ModeDevice}}, `"p" is neither`},
		{"a name", fstest.MapFS{"a\nb": file("")}, "cannot be printed"},
		{"deep", fstest.MapFS{strings.Repeat("d/", MaxDepth) + "f": file("")}, "more than 16 names"},
		{"large", fstest.MapFS{"f": {Data: make([]byte, MaxFile+1)}}, `"f" is larger than 1 MiB`},
		{"many", many(MaxFiles+1, 0), "more than 1000 files"},
		{"much", many(17, MaxFile), "more than 16 MiB"},
		{"CRLF", fstest.MapFS{"f": file("a\r\nb\r\n")}, "f"},
	}
	for _, tt := range tests {
		all, err := Read(tt.fsys)
		var got []string
		for _, f := range all {
			name := f.Path
			if f.Executable {
				name += "*"
			}
			got = append(got, name)
			if string(f.Body) != string(tt.fsys[f.Path].Data) {
				t.Errorf("Read: %s: %s is %q, want it unchanged", tt.call, f.Path, f.Body)
			}
		}
		if err != nil {
			if workspace.KindOf(err) != workspace.Invalid || !strings.Contains(workspace.Message(err), tt.want) || tt.want == "" {
				t.Errorf("Read: %s = %v, want Invalid with %q", tt.call, err, tt.want)
			}
			continue
		}
		if !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("Read: %s = %q, want %q", tt.call, got, tt.want)
		}
	}
}
