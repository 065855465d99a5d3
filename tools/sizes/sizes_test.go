package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAccount plants faults, since a benchmark that misses them proves nothing.
func TestAccount(t *testing.T) {
	began := time.Now()
	event := func(seq int, workspace string, after time.Duration) arrival {
		return arrival{fmt.Sprint(seq), fmt.Sprintf(`{"seq":%d,"type":"workspace.created","workspace":%q,"data":{}}`, seq, workspace), began.Add(after)}
	}
	writes := []write{{workspace: "ws_a", sent: began}, {workspace: "ws_b", sent: began.Add(10)}}
	good := []arrival{event(8, "ws_a", 3), event(9, "ws_b", 15)}
	tests := []struct {
		name  string
		other []arrival // what the second client got
		want  string
	}{
		{"all", []arrival{event(8, "ws_a", 5), event(9, "ws_b", 11)}, ""},
		{"none", nil, "client 1: got 0 events, want 2"},
		{"the last is missing", good[:1], "client 1: got 1 events, want 2"},
		{"the first is missing", good[1:], "client 1: event 9 with seq 9 came after 7"},
		{"one came twice", []arrival{good[0], good[0], good[1]}, "client 1: event 8 with seq 8 came after 8"},
		{"the order differs", []arrival{good[1], good[0]}, "client 1: event 9 with seq 9 came after 7"},
		{"one of another", []arrival{good[0], event(9, "ws_c", 15)}, "client 1: event 9 is workspace.created of ws_c, want workspace.created of ws_b"},
		{"one too many", []arrival{good[0], good[1], event(10, "ws_c", 20)}, "client 1: no one caused event 10"},
		{"two numbers", []arrival{{"8", strings.Replace(good[0].data, "8", "9", 1), began}}, "client 1: event 8 with seq 9 came after 7"},
		{"no JSON", []arrival{{"8", "{", began}}, "client 1: event 8: unexpected end of JSON input"},
	}
	for _, tt := range tests {
		each, all, err := account(7, writes, [][]arrival{good, tt.other})
		if tt.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: account() = %v, want %q", tt.name, err, tt.want)
			}
			continue
		}
		if got, want := fmt.Sprint(each, all, err), "[3ns 5ns 5ns 1ns] [5ns 5ns] <nil>"; got != want {
			t.Errorf("%s: account() = %s, want %s", tt.name, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	all := []item{{ID: "ws_d", Created: 3, Parent: "ws_a"}, {ID: "ws_c", Created: 2}, {ID: "ws_b", Created: 2, Parent: "ws_a"}, {ID: "ws_a", Created: 1}}
	children := func(i item) bool { return i.Parent == "ws_a" }
	everything := func(item) bool { return true }
	tests := []struct {
		name string
		got  []item
		fits func(item) bool
		want string
	}{
		{"all", all, everything, ""},
		{"children", []item{all[0], all[2]}, children, ""},
		{"one too many", all[:3], children, "it has 3 workspaces, want the 2 that fit"},
		{"one too few", all[:1], children, "it has 1 workspaces, want the 2 that fit"},
		{"another one", []item{all[0], all[1]}, children, "it has 2 workspaces, want the 2 that fit"},
		{"another order", []item{all[2], all[0]}, children, "it has 2 workspaces, want the 2 that fit"},
	}
	for _, tt := range tests {
		if err := same(tt.got, all, tt.fits); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: same() = %v, want %q", tt.name, err, tt.want)
		}
	}
	for _, wrong := range [][]item{{all[1], all[0]}, {all[2], all[1]}} {
		if err := same(wrong, wrong, everything); err == nil {
			t.Errorf("same(%s before %s) = nil, want an error about the order", wrong[0].ID, wrong[1].ID)
		}
	}
}

// TestLists: each list has its own filter, which tells workspaces apart as
// its parameters say.
func TestLists(t *testing.T) {
	one := item{ID: "ws_1", Name: "Agent 77", Template: "research", Parent: "ws_0", Labels: map[string]string{"team": "team-7", "stage": "stage-1"}}
	one.Status.State = "paused"
	var fit []string
	for _, l := range lists("ws_0") {
		if l.fits(one) {
			fit = append(fit, l.query)
		}
		if l.query != "" && l.query != "parent=none" && l.fits(item{}) {
			t.Errorf("an empty workspace fits %q, want not", l.query)
		}
	}
	want := []string{"", "template=research", "parent=ws_0", "label=team=team-7", "label=stage=stage-1&state=paused", "q=7", "q=agent 77"}
	if fmt.Sprintf("%q", fit) != fmt.Sprintf("%q", want) {
		t.Errorf("lists() that %+v fits = %q, want %q", one, fit, want)
	}
}

func TestAgree(t *testing.T) {
	const workspace = `{"id":"ws_a","labels":{"team":"blue"},"revision":3,"newer":0}`
	tests := []struct{ event, want string }{
		{`{"id":"ws_a","labels":{"team":"blue"},"revision":3,"newer":0}`, ""},
		{`{"revision":3,"id":"ws_a"}`, ""},
		{`{"id":"ws_a","revision":2}`, "the event's revision is 2, and the workspace's is 3"},
		{`{"id":"ws_a","labels":{"team":"red"}}`, `the event's labels is {"team":"red"}, and the workspace's is {"team":"blue"}`},
		{`{"id":"ws_a","older":1}`, "the event's older is 1, and the workspace's is "},
		{`{}`, "the event has no fields"},
		{`{`, "unexpected end of JSON input"},
	}
	for _, tt := range tests {
		if err := agree([]byte(tt.event), []byte(workspace)); tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("agree(%s) = %v, want %q", tt.event, err, tt.want)
		}
	}
}

func TestPath(t *testing.T) {
	tests := []struct{ query, cursor, want string }{
		{"", "", "/v1/workspaces?limit=50"},
		{"", "abc", "/v1/workspaces?limit=50&cursor=abc"},
		{"state=running", "", "/v1/workspaces?limit=50&state=running"},
		{"q=agent 77", "a=", "/v1/workspaces?limit=50&q=agent+77&cursor=a%3D"},
	}
	for _, tt := range tests {
		if got := path(tt.query, tt.cursor); got != tt.want {
			t.Errorf("path(%q, %q) = %s, want %s", tt.query, tt.cursor, got, tt.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		row  row
		want string
	}{
		{row{took: []time.Duration{ms}}, ""},
		{row{took: []time.Duration{ms, 19 * ms}, target: 20 * ms}, "p99 below 20: met"},
		{row{took: []time.Duration{ms, 20 * ms}, target: 20 * ms}, "p99 below 20: MISSED"},
		{row{rate: 1000, least: 1000}, "1000/s, at least 1000/s: met"},
		{row{rate: 998.7, least: 1000}, "999/s, at least 1000/s: MISSED"},
	}
	for _, tt := range tests {
		if got := tt.row.verdict(); got != tt.want {
			t.Errorf("verdict() of %+v = %q, want %q", tt.row, got, tt.want)
		}
	}
}

func TestDraw(t *testing.T) {
	var b strings.Builder
	draw(&b, "list", []row{{name: "all", took: []time.Duration{1200 * time.Microsecond, 31 * time.Millisecond}, target: 20 * time.Millisecond}})
	want := `
list                                                 n     p50     p95     p99     max   target
  all                                                2    16.1    31.0    31.0    31.0   p99 below 20: MISSED
`
	if got := b.String(); got != want {
		t.Errorf("draw() printed\n%q, want\n%q", got, want)
	}
}

func TestRead(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", ""},
		{"-workspaces 1000 -agents 100", ""},
		{"-workspaces 999", "-workspaces must be at least 1000"},
		{"-revisions 4", "-workspaces must be at least 1000, -revisions at least 5"},
		{"-agents 0", "-agents must be at least 1"},
		{"-agents 1001", "-agents must be at least 1, and at most a tenth"},
		{"-streams 1", "-streams and -requests must be at least 2"},
		{"-beats 0s", "-streams and -requests must be at least 2"},
		{"fast", `unexpected argument "fast"`},
	}
	for _, tt := range tests {
		_, err := read(strings.Fields(tt.args))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("read(%s) = %v, want %q", tt.args, err, tt.want)
		}
	}
	if s, _ := read(nil); s.workspaces != 10_000 || s.workspaces*s.revisions != 1_000_000 || s.streams != 200 || s.agents != 200 {
		t.Errorf("read() = %+v, want 10,000 workspaces, 1,000,000 events, 200 streams and agents", s)
	}
}
