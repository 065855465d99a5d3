package workspace

import (
	"slices"
	"strings"
)

// Filter says which workspaces a list has: those that fit all of it. The zero
// value is all of them.
type Filter struct {
	State    State
	Template string
	Parent   string // an id, or NoParent
	Labels   []LabelFilter
	Text     string // part of the name, in upper or lower case
	PeersOf  Line   // those that this workspace may talk to, but for itself
}

// NoParent, as a filter's parent, stands for roots.
const NoParent = "none"

// LabelFilter fits a workspace that has a label, with a value unless AnyValue.
type LabelFilter struct {
	Name, Value string
	AnyValue    bool
}

// ParseLabelFilter reads "name" or "name=value".
func ParseLabelFilter(text string) LabelFilter {
	name, value, found := strings.Cut(text, "=")
	return LabelFilter{Name: name, Value: value, AnyValue: !found}
}

// Check fails with Invalid on what no workspace can fit.
func (f Filter) Check() error {
	if f.State != "" && !slices.Contains(States(), f.State) {
		return Errorf(Invalid, "state %s is not known; there are: %s", quote(string(f.State)), joinStates(States()))
	}
	if f.Template != "" {
		if err := CheckTemplateName(f.Template); err != nil {
			return err
		}
	}
	if f.Parent != "" && f.Parent != NoParent && !IsID(f.Parent) {
		return Errorf(Invalid, "parent %s is neither a workspace's id nor %q", quote(f.Parent), NoParent)
	}
	if len(f.Labels) > MaxLabels {
		return Errorf(Invalid, "label is given %d times; no workspace has more than %d labels", len(f.Labels), MaxLabels)
	}
	for _, l := range f.Labels {
		if err := checkLabel(l.Name, l.Value); err != nil {
			return err
		}
	}
	return checkText("q", f.Text, MaxName)
}

func joinStates(states []State) string {
	var names []string
	for _, s := range states {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
