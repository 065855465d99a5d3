package workspace

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestApply(t *testing.T) {
	made, err := New(Spec{Name: "a", Template: "t", Parent: "ws_p", Labels: Labels{"x": "1", "y": "2"}}, time.UnixMilli(1000))
	if err != nil {
		t.Fatal(err)
	}
	full := map[string]*string{}
	for i := range MaxLabels {
		full[fmt.Sprint(i)] = new(string)
	}
	text := func(s string) *string { return &s }
	with := func(change func(*Workspace)) Workspace {
		w := made
		w.Labels = maps.Clone(made.Labels)
		change(&w)
		w.Revision, w.Updated = 2, 2000
		return w
	}
	tests := []struct {
		name  string
		patch Patch
		want  Workspace
		err   string // part of the error; empty: none
	}{
		{"nothing", Patch{}, made, ""},
		{"what is so", Patch{Name: text(" a "), Parent: text("ws_p"), Labels: map[string]*string{"x": text("1"), "z": nil}}, made, ""},
		{"name", Patch{Name: text(" b ")}, with(func(w *Workspace) { w.Name = "b" }), ""},
		{"parent", Patch{Parent: text("ws_q")}, with(func(w *Workspace) { w.Parent = "ws_q" }), ""},
		{"root", Patch{Parent: text("")}, with(func(w *Workspace) { w.Parent = "" }), ""},
		{
			"labels",
			Patch{Labels: map[string]*string{"x": nil, "y": text("3"), "z": text("")}},
			with(func(w *Workspace) { w.Labels = Labels{"y": "3", "z": ""} }), "",
		},
		{"no labels", Patch{NoLabels: true}, with(func(w *Workspace) { w.Labels = Labels{} }), ""},
		{"empty name", Patch{Name: text(" ")}, made, "The name is required"},
		{"long name", Patch{Name: text(strings.Repeat("a", MaxName+1))}, made, "at most 100"},
		{"no id", Patch{Parent: text("p")}, made, `parent "p" is not a workspace's id`},
		{"a label's name", Patch{Labels: map[string]*string{"a b": text("")}}, made, "The label name"},
		{"too many labels", Patch{Labels: full}, made, "There are 34 labels"},
	}
	for _, tt := range tests {
		got, changed, err := tt.patch.Apply(made, time.UnixMilli(2000))
		if !reflect.DeepEqual(got, tt.want) || changed != (tt.want.Revision == 2) {
			t.Errorf("Apply(%s) = %+v, %t, want %+v", tt.name, got, changed, tt.want)
		}
		if tt.err == "" && err != nil || tt.err != "" && (KindOf(err) != Invalid || !strings.Contains(Message(err), tt.err)) {
			t.Errorf("Apply(%s) = error %v, want Invalid with %q", tt.name, err, tt.err)
		}
	}
	if want := (Labels{"x": "1", "y": "2"}); !maps.Equal(made.Labels, want) {
		t.Errorf("Apply changed its argument's labels to %v, want %v", made.Labels, want)
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		match Match
		want  bool
	}{
		{nil, true},
		{Match{}, false},
		{Match{3}, true},
		{Match{1, 3}, true},
		{Match{1, 2}, false},
	}
	for _, tt := range tests {
		err := tt.match.Check(Workspace{Revision: 3})
		if (err == nil) != tt.want || err != nil && KindOf(err) != Stale {
			t.Errorf("%v.Check(revision 3) = %v, want a match: %t", tt.match, err, tt.want)
		}
	}
}
