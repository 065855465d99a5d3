// Package workspace is the domain: what a workspace is, which values are
// valid, what can go wrong, and the interfaces behind which storage lives. It
// does no I/O and imports nothing of this module.
package workspace

import (
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxName is the greatest length of a workspace's name, in characters.
const MaxName = 100

// MaxIdleMinutes is the longest time after which a workspace without anything
// to do may be hibernated: 30 days.
const MaxIdleMinutes = 30 * 24 * 60

// State is what a workspace is, or is wanted to be.
type State string

// Workspace is one agent workspace. Desired is what its owner asked for,
// Status is what is so.
type Workspace struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Template    string `json:"template"`     // empty: made from no template
	Parent      string `json:"parent"`       // a workspace's id; empty: a root
	Labels      Labels `json:"labels"`       // never nil
	IdleMinutes int64  `json:"idle_minutes"` // after how long without anything to do it is hibernated; 0: never
	Desired     State  `json:"desired"`
	Status      Status `json:"status"`
	Generation  int64  `json:"generation"` // how often it was to be started
	Revision    int64  `json:"revision"`   // grows with each change
	Created     int64  `json:"created"`    // epoch milliseconds
	Updated     int64  `json:"updated"`    // epoch milliseconds
}

// Status says what a workspace does, why, and since when.
type Status struct {
	State   State  `json:"state"`
	Reason  string `json:"reason"`  // one word, for programs
	Message string `json:"message"` // a sentence, for people
	Since   int64  `json:"since"`   // epoch milliseconds
}

// Spec is what is asked for when a workspace is made.
type Spec struct {
	Name, Template, Parent string
	Labels                 Labels
	IdleMinutes            int64
	Start                  bool // it is to run at once
}

// New returns a workspace that nothing has been done with yet. It fails with
// Invalid.
func New(spec Spec, now time.Time) (Workspace, error) {
	ms := now.UnixMilli()
	w := Workspace{
		ID:          "ws_" + strings.ToLower(rand.Text()),
		Name:        strings.TrimSpace(spec.Name),
		Template:    spec.Template,
		Parent:      spec.Parent,
		Labels:      Labels{},
		IdleMinutes: spec.IdleMinutes,
		Desired:     StateStopped,
		Status: Status{
			State:   StateStopped,
			Reason:  "created",
			Message: "The workspace was created and has not been started.",
			Since:   ms,
		},
		Revision: 1,
		Created:  ms,
		Updated:  ms,
	}
	maps.Copy(w.Labels, spec.Labels)
	if spec.Start {
		w.Desired = StateRunning
		w.Generation = 1
		w.Status.State, w.Status.Reason, w.Status.Message = StateStarting, "created", "The workspace was created, and is being started."
	}
	return w, w.check()
}

// check refuses values that no workspace may have. Names need not be unique.
func (w Workspace) check() error {
	if w.Name == "" {
		return Errorf(Invalid, "name is required")
	}
	if err := checkText("name", w.Name, MaxName); err != nil {
		return err
	}
	if w.Template != "" {
		if err := CheckTemplateName(w.Template); err != nil {
			return err
		}
	}
	if w.Parent != "" && !IsID(w.Parent) {
		return Errorf(Invalid, "parent %s is not a workspace's id", quote(w.Parent))
	}
	if w.IdleMinutes < 0 || w.IdleMinutes > MaxIdleMinutes {
		return Errorf(Invalid, "idle_minutes has to be a number from 0, which is never, to %d", MaxIdleMinutes)
	}
	return w.Labels.check()
}

// IsID reports whether a text can be the id of a workspace. What cannot be one
// is not asked of the database, which may not even be able to hold it.
func IsID(text string) bool {
	id, found := strings.CutPrefix(text, "ws_")
	return found && id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// checkText refuses what cannot be shown on one line.
func checkText(what, text string, longest int) error {
	switch n := utf8.RuneCountInString(text); {
	case !utf8.ValidString(text):
		return Errorf(Invalid, "%s is not valid UTF-8", what)
	case n > longest:
		return Errorf(Invalid, "%s has %d characters; at most %d are allowed", what, n, longest)
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return Errorf(Invalid, "%s holds a character that cannot be printed", what)
	}
	return nil
}

// CheckTemplateName refuses every name that could mean something else than one
// directory below the templates'. It fails with Invalid.
func CheckTemplateName(name string) error { return checkDirectory("template", name) }

// checkDirectory refuses every name of a thing that could mean something else
// than one directory below a certain one.
func checkDirectory(what, name string) error {
	const max = 63
	valid := name != "" && len(name) <= max && name[0] != '-' && name[len(name)-1] != '-'
	for _, c := range []byte(name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !valid {
		return Errorf(Invalid, "%s %s is not a %s's name: use a-z, 0-9 and -, at most %d characters", what, quote(name), what, max)
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
