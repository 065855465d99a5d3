package workspace

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestLabels(t *testing.T) {
	many := Labels{}
	for i := range MaxLabels {
		many[fmt.Sprint(i)] = ""
	}
	tooMany := maps.Clone(many)
	tooMany["x"] = ""
	long := strings.Repeat("a", MaxLabelName)
	tests := []struct {
		labels Labels
		want   string // part of the error; empty: none
	}{
		{nil, ""},
		{Labels{"team": "blue", "example.com/Tier_1": "größer = 日本, \"x\""}, ""},
		{Labels{"a": "", long: strings.Repeat("é", MaxLabelValue)}, ""},
		{many, ""},
		{tooMany, "There are 33 labels; at most 32 are allowed"},
		{Labels{"": "x"}, `The label name "" is not valid`},
		{Labels{"a": "", "a=b": "x"}, `The label name "a=b" is not valid`},
		{Labels{"-a": "x"}, "The label name"},
		{Labels{"a.": "x"}, "The label name"},
		{Labels{"é": "x"}, "The label name"},
		{Labels{long + "a": "x"}, "at most 63 characters"},
		{Labels{"a": strings.Repeat("é", MaxLabelValue+1)}, `label "a" has 101 characters`},
		{Labels{"a": "x\x00"}, `label "a" holds a character that cannot be printed`},
		{Labels{"a": "\xff"}, `label "a" is not valid UTF-8`},
	}
	for _, tt := range tests {
		w, err := New(Spec{Name: "a", Labels: tt.labels}, time.Now())
		if tt.want == "" {
			if err != nil || w.Labels == nil || !maps.Equal(w.Labels, tt.labels) {
				t.Errorf("New with labels %q = %q, %v, want the same", tt.labels, w.Labels, err)
			}
			continue
		}
		if KindOf(err) != Invalid || !strings.Contains(Message(err), tt.want) {
			t.Errorf("New with labels %q = error %v, want Invalid with %q", tt.labels, err, tt.want)
		}
	}
}

func TestParentIsAnID(t *testing.T) {
	for parent, want := range map[string]bool{
		"": true, "ws_a1": true, "ws_": false, "a": false, "ws_A": false, "ws_\x00": false,
		"ws_" + strings.Repeat("a", 64): true, "ws_" + strings.Repeat("a", 65): false,
	} {
		if _, err := New(Spec{Name: "a", Parent: parent}, time.Now()); (err == nil) != want || err != nil && KindOf(err) != Invalid {
			t.Errorf("New with parent %q = error %v, want it accepted: %t", parent, err, want)
		}
	}
}
