package trace

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	id   = "4bf92f3577b34da6a3ce929d0e0e4736"
	span = "00f067aa0ba902b7"
)

func TestParseParent(t *testing.T) {
	tests := []struct {
		text  string
		want  string // the id; empty: refused
		flags byte
	}{
		{"00-" + id + "-" + span + "-01", id, 1},
		{"00-" + id + "-" + span + "-00", id, 0},
		{"00-" + id + "-" + span + "-03", id, 3},
		{"00-" + id + "-" + span + "-ff", id, 3}, // flags that are not known are not passed on

		// Versions to come.
		{"cc-" + id + "-" + span + "-01", id, 1},
		{"cc-" + id + "-" + span + "-01-what-the-future-will-be-like", id, 1},
		{"cc-" + id + "-" + span + "-01-", id, 1},
		{"01-" + id + "-" + span + "-09-x", id, 1},
		{"cc-" + id + "-" + span + "-01.what-the-future-will-not-be-like", "", 0},
		{"cc-" + id + "-" + span + "-011", "", 0},
		{"cc-" + id + "-" + span, "", 0},
		{"ff-" + id + "-" + span + "-01", "", 0},

		{"", "", 0},
		{"00-" + id + "-" + span, "", 0},
		{"00-" + id + "-" + span + "-1", "", 0},
		{"00-" + id + "-" + span + "-", "", 0},
		{"00-" + id + "-" + span + "-01-", "", 0},
		{"00-" + id + "-" + span + "-01-more", "", 0},
		{"00-" + id + "-" + span + "-010", "", 0},
		{" 00-" + id + "-" + span + "-01", "", 0},
		{"00-" + id + "-" + span + "-0x", "", 0},
		{"00-" + id + "-" + span + "-.0", "", 0},
		{"0-" + id + "-" + span + "-01x", "", 0},
		{".0-" + id + "-" + span + "-01", "", 0},
		{"000" + id + "-" + span + "-01x", "", 0},
		{"00-" + strings.Repeat("0", 32) + "-" + span + "-01", "", 0},
		{"00-" + id + "-" + strings.Repeat("0", 16) + "-01", "", 0},
		{"00-" + strings.ToUpper(id) + "-" + span + "-01", "", 0},
		{"00-" + id + "-" + strings.ToUpper(span) + "-01", "", 0},
		{"0A-" + id + "-" + span + "-01", "", 0},
		{"00-" + id + "-" + span + "-0B", "", 0},
		{"00-" + id[1:] + "-" + span + "-012", "", 0},
		{"00-" + id + "0-" + span[1:] + "-01", "", 0},
		{"00-" + id[:31] + ".-" + span + "-01", "", 0},
		{"00-" + id + "-" + span[:15] + "g-01", "", 0},
		{"00_" + id + "_" + span + "_01", "", 0},
	}
	for _, tt := range tests {
		got, ok := Parse(http.Header{Parent: {tt.text}, State: {"a=b"}})
		if ok != (tt.want != "") || got.ID != tt.want || got.flags != tt.flags || (got.state != "") != ok {
			t.Errorf("Parse(%q) = %+v, %t, want %q with flags %x", tt.text, got, ok, tt.want, tt.flags)
		}
	}
}

func TestParseTakesOneParent(t *testing.T) {
	const parent = "00-" + id + "-" + span + "-01"
	for _, parents := range [][]string{nil, {parent, parent}, {parent + "," + parent}} {
		if got, ok := Parse(http.Header{Parent: parents}); ok {
			t.Errorf("Parse(%q) = %+v, want none", parents, got)
		}
	}
}

func TestState(t *testing.T) {
	member := func(n int) string { return "k=" + strings.Repeat("v", n-2) }
	many := strings.TrimSuffix(strings.Repeat("a=1,", maxMembers), ",")
	tests := []struct {
		given []string
		want  string
	}{
		{nil, ""},
		{[]string{"foo=1"}, "foo=1"},
		{[]string{"foo=1,bar=2"}, "foo=1,bar=2"},
		{[]string{" foo=1 \t,\t bar=2 "}, "foo=1,bar=2"},
		{[]string{"foo=1,bar=2", "rojo=1"}, "foo=1,bar=2,rojo=1"},
		{[]string{"foo=1,,", "", ",bar=2"}, "foo=1,bar=2"},
		{[]string{many}, many},
		{[]string{many + ",b=1"}, many},
		{[]string{member(maxState)}, member(maxState)},
		{[]string{member(maxState + 1)}, ""},
		{[]string{member(200) + "," + member(maxState-201)}, member(200) + "," + member(maxState-201)},
		{[]string{member(200), member(maxState - 200)}, member(200)},
		{[]string{"foo=\x00"}, ""},
		{[]string{"foo=1,bär=2"}, ""},
		{[]string{"foo=1\r\nX: y"}, ""},
	}
	for _, tt := range tests {
		got, ok := Parse(http.Header{Parent: {"00-" + id + "-" + span + "-01"}, State: tt.given})
		if !ok || got.state != tt.want {
			t.Errorf("the state of %q = %q, %t, want %q", tt.given, got.state, ok, tt.want)
		}
	}
}

func TestSetHeader(t *testing.T) {
	given, ok := Parse(http.Header{Parent: {"cc-" + id + "-" + span + "-09-x"}, State: {"a=b"}})
	if !ok {
		t.Fatal("the header is refused")
	}
	spans := map[string]bool{span: true}
	for range 100 {
		h := http.Header{State: {"of=another"}}
		FromContext(NewContext(t.Context(), given)).SetHeader(h)
		parts := strings.Split(h.Get(Parent), "-")
		if len(parts) != 4 || parts[0] != "00" || parts[1] != id || parts[3] != "01" || spans[parts[2]] {
			t.Fatalf("SetHeader sets %q, want the same trace, with a span of its own", h.Get(Parent))
		}
		spans[parts[2]] = true
		if again, ok := Parse(h); !ok || again != given {
			t.Errorf("Parse of what SetHeader set = %+v, %t, want %+v", again, ok, given)
		}
	}
}

func TestNew(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		h := http.Header{State: {"of=another"}}
		FromContext(t.Context()).SetHeader(h)
		got, ok := Parse(h)
		if !ok || seen[got.ID] || h.Get(State) != "" || !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-02$`).MatchString(h.Get(Parent)) {
			t.Fatalf("a new trace sets %v, want a trace of its own", h)
		}
		seen[got.ID] = true
	}
}

func FuzzParse(f *testing.F) {
	f.Add("00-"+id+"-"+span+"-01", "a=b,c=d")
	f.Add("cc-"+id+"-"+span+"-01-x", strings.Repeat("a=b,", 200))
	f.Fuzz(func(t *testing.T, parent, state string) {
		got, ok := Parse(http.Header{Parent: {parent}, State: {state}})
		if !ok {
			if got != (Trace{}) {
				t.Errorf("Parse(%q) = %+v, %t", parent, got, ok)
			}
			return
		}
		h := http.Header{}
		got.SetHeader(h)
		again, ok := Parse(h)
		if !ok || again != got || len(h.Get(State)) > maxState || !strings.Contains(parent, got.ID) {
			t.Errorf("Parse(%q, %q) = %+v, passed on as %v, and read again as %+v, %t", parent, state, got, h, again, ok)
		}
	})
}
