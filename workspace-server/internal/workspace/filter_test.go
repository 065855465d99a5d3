package workspace

import (
	"strings"
	"testing"
)

func TestFilterCheck(t *testing.T) {
	tests := []struct {
		filter Filter
		want   string // part of the error; empty: none
	}{
		{Filter{}, ""},
		{Filter{State: StateStopped, Template: "go-service", Parent: "ws_a", Text: "a %_!"}, ""},
		{Filter{Parent: NoParent}, ""},
		{Filter{Labels: []LabelFilter{{Name: "a", AnyValue: true}, {Name: "a", Value: ""}}}, ""},
		{Filter{State: "gone"}, `The state "gone" is not known. Use one of: stopped, starting,`},
		{Filter{Template: "../etc"}, "template name"},
		{Filter{Parent: "ws_\x00"}, "is neither a workspace's id nor"},
		{Filter{Labels: []LabelFilter{{Name: ""}}}, "The label name"},
		{Filter{Labels: []LabelFilter{{Name: "a", Value: "\x00"}}}, "cannot be printed"},
		{Filter{Labels: make([]LabelFilter, MaxLabels+1)}, "is given 33 times"},
		{Filter{Text: "\xff"}, `parameter "q" is not valid UTF-8`},
		{Filter{Text: "\x00"}, "holds a character that cannot be printed"},
		{Filter{Text: strings.Repeat("é", MaxName+1)}, "has 101 characters"},
	}
	for _, tt := range tests {
		err := tt.filter.Check()
		if tt.want == "" && err != nil || tt.want != "" && (KindOf(err) != Invalid || !strings.Contains(Message(err), tt.want)) {
			t.Errorf("%+v.Check() = %v, want Invalid with %q", tt.filter, err, tt.want)
		}
	}
}

func TestParseLabelFilter(t *testing.T) {
	for text, want := range map[string]LabelFilter{
		"":      {AnyValue: true},
		"a":     {Name: "a", AnyValue: true},
		"a=":    {Name: "a"},
		"a=b":   {Name: "a", Value: "b"},
		"a=b=c": {Name: "a", Value: "b=c"},
		"=b":    {Value: "b"},
	} {
		if got := ParseLabelFilter(text); got != want {
			t.Errorf("ParseLabelFilter(%q) = %+v, want %+v", text, got, want)
		}
	}
}
