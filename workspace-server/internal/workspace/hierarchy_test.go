package workspace

import (
	"fmt"
	"strings"
	"testing"
)

// lineOf returns the line that a path from the root names: "a/b/c" is the line of c.
func lineOf(path string) Line {
	var l Line
	for id := range strings.SplitSeq(path, "/") {
		if id != "" {
			l = append(Line{id}, l...)
		}
	}
	return l
}

func TestMayTalk(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"a", "a", true},
		{"a/b", "a/b", true},

		{"a", "b", true}, // roots are siblings
		{"a/b", "a/c", true},
		{"a/b/c", "a/b/d", true},

		{"a", "a/b", true},
		{"a", "a/b/c/d", true},
		{"a/b", "a/b/c/d", true},

		{"a/b", "c", false},       // a sibling of the parent
		{"a/b", "c/d", false},     // a cousin
		{"a/b/c", "a/d", false},   // a sibling of the parent, not of a root
		{"a/b/c", "a/d/e", false}, // a cousin below the same root
		{"a/b/c", "d", false},

		{"", "", false},
		{"", "a", false},
	}
	for _, tt := range tests {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := MayTalk(lineOf(pair[0]), lineOf(pair[1])); got != tt.want {
				t.Errorf("MayTalk(%q, %q) = %t, want %t", pair[0], pair[1], got, tt.want)
			}
		}
	}
}

func TestCheckParent(t *testing.T) {
	deep := func(n int) string {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint(i))
		}
		return strings.Join(ids, "/")
	}
	tests := []struct {
		id     string
		levels int
		parent string
		want   string // part of the error; empty: none
	}{
		{"x", 1, "a", ""},
		{"x", 3, "a/b", ""},
		{"x", 1, deep(MaxDepth - 1), ""},
		{"x", MaxDepth - 1, "a", ""},
		{"x", 1, deep(MaxDepth), "there would be 9"},
		{"x", MaxDepth, "a", "there would be 9"},
		{"x", 4, deep(5), "at most 8 levels"},
		{"x", 1, "x", "its own parent"},
		{"x", 2, "a/x", "its own parent"},
		{"x", 2, "x/a", `"a" is below "x"`},
		{"x", 3, "r/x/b/a", `"a" is below "x"`},
	}
	for _, tt := range tests {
		err := CheckParent(tt.id, tt.levels, lineOf(tt.parent))
		if tt.want == "" && err != nil ||
			tt.want != "" && (KindOf(err) != Conflict || !strings.Contains(Message(err), tt.want)) {
			t.Errorf("CheckParent(%q, %d, %q) = %v, want %q", tt.id, tt.levels, tt.parent, err, tt.want)
		}
	}
}

func TestCheckChildren(t *testing.T) {
	for c, want := range map[Children]bool{Refuse: true, Cascade: true, Orphan: true, "": false, "all": false} {
		if err := CheckChildren(c); (err == nil) != want || err != nil && KindOf(err) != Invalid {
			t.Errorf("CheckChildren(%q) = %v, want it accepted: %t", c, err, want)
		}
	}
}
