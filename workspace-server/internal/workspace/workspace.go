// Package workspace is the domain: what a workspace is, which values are
// valid, what can go wrong, and the interfaces behind which storage lives. It
// does no I/O and imports nothing of this module.
package workspace

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxName is the greatest length of a workspace's name, in characters.
const MaxName = 100

// State is what a workspace is, or is wanted to be.
type State string

// StateStopped: the workspace exists and nothing of it runs.
const StateStopped State = "stopped"

// Workspace is one agent workspace. Desired is what its owner asked for,
// Status is what is so.
type Workspace struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Template string `json:"template"` // empty: made from no template
	Desired  State  `json:"desired"`
	Status   Status `json:"status"`
	Revision int64  `json:"revision"` // grows with each change
	Created  int64  `json:"created"`  // epoch milliseconds
	Updated  int64  `json:"updated"`  // epoch milliseconds
}

// Status says what a workspace does, why, and since when.
type Status struct {
	State   State  `json:"state"`
	Reason  string `json:"reason"`  // one word, for programs
	Message string `json:"message"` // a sentence, for people
	Since   int64  `json:"since"`   // epoch milliseconds
}

// New returns a workspace that nothing has been done with yet. It fails with
// Invalid.
func New(name, template string, now time.Time) (Workspace, error) {
	name = strings.TrimSpace(name)
	if err := checkName(name); err != nil {
		return Workspace{}, err
	}
	if template != "" {
		if err := CheckTemplateName(template); err != nil {
			return Workspace{}, err
		}
	}
	ms := now.UnixMilli()
	return Workspace{
		ID:       "ws_" + strings.ToLower(rand.Text()),
		Name:     name,
		Template: template,
		Desired:  StateStopped,
		Status: Status{
			State:   StateStopped,
			Reason:  "created",
			Message: "The workspace was created and has not been started.",
			Since:   ms,
		},
		Revision: 1,
		Created:  ms,
		Updated:  ms,
	}, nil
}

// checkName refuses what cannot be shown on one line. Names need not be unique.
func checkName(name string) error {
	switch {
	case name == "":
		return Errorf(Invalid, "name is required")
	case !utf8.ValidString(name):
		return Errorf(Invalid, "name is not valid UTF-8")
	case utf8.RuneCountInString(name) > MaxName:
		return Errorf(Invalid, "name has %d characters; at most %d are allowed", utf8.RuneCountInString(name), MaxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return Errorf(Invalid, "name holds a character that cannot be printed")
	}
	return nil
}

// CheckTemplateName refuses every name that could mean something else than one
// directory below the templates'. It fails with Invalid.
func CheckTemplateName(name string) error {
	const max = 63
	valid := name != "" && len(name) <= max && name[0] != '-' && name[len(name)-1] != '-'
	for _, c := range []byte(name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !valid {
		return Errorf(Invalid, "template %s is not a template's name: use a-z, 0-9 and -, at most %d characters", quote(name), max)
	}
	return nil
}

// quote shortens what a client sent before it is repeated in a message.
func quote(s string) string {
	const max = 80
	if len(s) > max {
		s = s[:max] + "..."
	}
	return fmt.Sprintf("%q", s)
}
