package workspace

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of labels.
const (
	MaxLabels     = 32
	MaxLabelName  = 63
	MaxLabelValue = 100 // characters
)

// Labels are short texts by name. They mean nothing to the server.
type Labels map[string]string

// check refuses labels that cannot be searched for as name=value, or shown on
// one line.
func (l Labels) check() error {
	if len(l) > MaxLabels {
		return Errorf(Invalid, "There are %d labels; at most %d are allowed.", len(l), MaxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if err := checkLabel(name, l[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkLabel(name, value string) error {
	alphanumeric := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	valid := name != "" && len(name) <= MaxLabelName && alphanumeric(name[0]) && alphanumeric(name[len(name)-1])
	for _, c := range []byte(name) {
		valid = valid && (alphanumeric(c) || strings.IndexByte("-_./", c) >= 0)
	}
	if !valid {
		return Errorf(Invalid, "The label name %s is not valid. Use letters, digits and -_./ between them, at most %d characters.",
			quote(name), MaxLabelName)
	}
	return checkText(fmt.Sprintf("label %q", name), value, MaxLabelValue)
}
