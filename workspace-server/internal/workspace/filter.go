package workspace

import (
	"slices"
	"strings"
)

// Filter selects the workspaces of a list: those that pass all of its parts. The
// zero value selects all.
type Filter struct {
	State    State
	Template string
	Parent   string // an id, or NoParent
	Labels   []LabelFilter
	Text     string // part of the name, in upper or lower case
	PeersOf  Line   // the peers of this workspace
}

// NoParent, as a filter's parent, selects roots.
const NoParent = "none"

// LabelFilter selects workspaces with a label that has the value, or any.
type LabelFilter struct {
	Name, Value string
	AnyValue    bool
}

// ParseLabelFilter reads "name" or "name=value".
func ParseLabelFilter(text string) LabelFilter {
	name, value, found := strings.Cut(text, "=")
	return LabelFilter{Name: name, Value: value, AnyValue: !found}
}

// Check fails with Invalid on a filter that no workspace can pass.
func (f Filter) Check() error {
	if f.State != "" && !slices.Contains(States(), f.State) {
		return Errorf(Invalid, "The state %s is not known. Use one of: %s.", quote(string(f.State)), joinStates(States()))
	}
	if f.Template != "" {
		if err := CheckTemplateName(f.Template); err != nil {
			return err
		}
	}
	if f.Parent != "" && f.Parent != NoParent && !IsID(f.Parent) {
		return Errorf(Invalid, "The parent %s is neither a workspace's id nor %q.", quote(f.Parent), NoParent)
	}
	if len(f.Labels) > MaxLabels {
		return Errorf(Invalid, "The parameter \"label\" is given %d times; no workspace has more than %d labels.", len(f.Labels), MaxLabels)
	}
	for _, l := range f.Labels {
		if err := checkLabel(l.Name, l.Value); err != nil {
			return err
		}
	}
	return checkText("parameter \"q\"", f.Text, MaxName)
}

func joinStates(states []State) string {
	var names []string
	for _, s := range states {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
