package lines_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"devloop/internal/lines"
)

// TestLine follows each line of a text; 0 stands for one that was removed.
func TestLine(t *testing.T) {
	tests := []struct {
		before, after string // a line is a word
		want          []int
	}{
		{"a b c", "a b c", []int{1, 2, 3}},
		{"a b c", "x a b c", []int{2, 3, 4}},
		{"a b c", "x y z a b c", []int{4, 5, 6}},
		{"a b c", "a c", []int{1, 0, 2}},
		{"a b c", "a B c", []int{1, 2, 3}},
		{"a b c", "a B1 B2 c", []int{1, 2, 4}},
		{"a b c d", "a X d", []int{1, 2, 2, 3}},
		{"a b c d", "d a b c", []int{2, 3, 4, 0}},
		{"a { b } { c } d", "a { x } { b } { c } d", []int{1, 2, 6, 7, 8, 9, 10, 11}},
		{"a b", "", []int{1, 1}},
		{"a b c x y z", "a b c", []int{1, 2, 3, 0, 0, 0}},
	}
	for _, tt := range tests {
		m := lines.Between(strings.ReplaceAll(tt.before, " ", "\n"), strings.ReplaceAll(tt.after, " ", "\n"))
		var got []int
		for n := range tt.want {
			line, _ := m.Line(n + 1)
			got = append(got, line)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("Between(%q, %q) = %v, want %v", tt.before, tt.after, got, tt.want)
		}
	}
}

// TestOutside: lines that the text does not have stay where they are.
func TestOutside(t *testing.T) {
	m := lines.Between("a\nb", "x\na\nb")
	for _, n := range []int{-1, 0, 3, 100} {
		if line, ok := m.Line(n); line != n || !ok {
			t.Errorf("Line(%d) = %d, %v, want it as it is", n, line, ok)
		}
	}
}

// TestEdits makes random edits of lines that all differ: each that is left must be
// found.
func TestEdits(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var before, after []string
		where := map[int]int{}
		for n := range 200 {
			before = append(before, fmt.Sprint("line ", n))
			for r.IntN(8) == 0 {
				after = append(after, []string{"", "}", fmt.Sprint("new ", r.Int())}[r.IntN(3)])
			}
			if r.IntN(8) > 0 {
				after = append(after, before[n])
				where[n+1] = len(after)
			}
		}
		m := lines.Between(strings.Join(before, "\n"), strings.Join(after, "\n"))
		for n, want := range where {
			if got, ok := m.Line(n); got != want || !ok {
				t.Fatalf("seed %d: Line(%d) = %d, %v, want %d", seed, n, got, ok, want)
			}
		}
	}
}

// TestLarge: a text of many equal lines takes no time.
func TestLarge(t *testing.T) {
	before := strings.Repeat("\treturn nil\n}\n\n", 30_000)
	m := lines.Between(before, "// a comment\n"+before)
	if line, ok := m.Line(3); line != 4 || !ok {
		t.Errorf("Line(3) = %d, %v, want 4", line, ok)
	}
}
