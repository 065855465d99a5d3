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

// MaxIdleMinutes is the longest time without activity after which a workspace can
// be hibernated: 30 days.
const MaxIdleMinutes = 30 * 24 * 60

// State is what a workspace is, or what its owner wants it to be.
type State string

// Workspace is one agent workspace. Desired is what its owner asked for, Status
// what the server observed.
type Workspace struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Template    string `json:"template"`     // empty: made from no template
	Parent      string `json:"parent"`       // a workspace's id; empty: a root
	Labels      Labels `json:"labels"`       // never nil
	IdleMinutes int64  `json:"idle_minutes"` // without activity, until it is hibernated; 0: never
	Desired     State  `json:"desired"`
	Status      Status `json:"status"`
	Generation  int64  `json:"generation"` // how often it was started
	Revision    int64  `json:"revision"`   // grows with each change
	Created     int64  `json:"created"`    // epoch milliseconds
	Updated     int64  `json:"updated"`    // epoch milliseconds
}

// Status is the state that the server observed, why, and since when.
type Status struct {
	State   State  `json:"state"`
	Reason  string `json:"reason"`  // one word, for programs
	Message string `json:"message"` // a sentence, for people
	Since   int64  `json:"since"`   // epoch milliseconds
}

// Spec is what a workspace is made from.
type Spec struct {
	Name, Template, Parent string
	Labels                 Labels
	IdleMinutes            int64
	Start                  bool // run it at once
}

// New returns a new workspace. It fails with Invalid.
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
		w.Status.State, w.Status.Reason, w.Status.Message = StateStarting, "created", "The workspace was created and is being started."
	}
	return w, w.check()
}

// check fails with Invalid on values that no workspace may have. Names need not be
// unique.
func (w Workspace) check() error {
	if w.Name == "" {
		return Errorf(Invalid, "The name is required.")
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
		return Errorf(Invalid, "The parent %s is not a workspace's id.", quote(w.Parent))
	}
	if w.IdleMinutes < 0 || w.IdleMinutes > MaxIdleMinutes {
		return Errorf(Invalid, "The field \"idle_minutes\" must be a number from 0, which means never, to %d.", MaxIdleMinutes)
	}
	return w.Labels.check()
}

// IsID reports whether a text can be the id of a workspace. The database is not
// asked about any other text, which it may not even be able to hold.
func IsID(text string) bool {
	id, found := strings.CutPrefix(text, "ws_")
	return found && id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// checkText fails with Invalid on a text that cannot be shown on one line.
func checkText(what, text string, longest int) error {
	switch n := utf8.RuneCountInString(text); {
	case !utf8.ValidString(text):
		return Errorf(Invalid, "The %s is not valid UTF-8.", what)
	case n > longest:
		return Errorf(Invalid, "The %s has %d characters; at most %d are allowed.", what, n, longest)
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return Errorf(Invalid, "The %s holds a character that cannot be printed. Leave it out.", what)
	}
	return nil
}

// CheckTemplateName fails with Invalid on every name that could mean anything but
// one directory below that of the templates.
func CheckTemplateName(name string) error { return checkDirectory("template", name) }

// checkDirectory fails with Invalid on every name that could mean anything but one
// directory below another.
func checkDirectory(what, name string) error {
	const max = 63
	valid := name != "" && len(name) <= max && name[0] != '-' && name[len(name)-1] != '-'
	for _, c := range []byte(name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !valid {
		return Errorf(Invalid, "The %s name %s is not valid. Use a-z, 0-9 and -, at most %d characters.", what, quote(name), max)
	}
	return nil
}

// quote shortens a client's text for a message that repeats it.
func quote(s string) string {
	const max = 80
	if len(s) > max {
		s = s[:max] + "..."
	}
	return fmt.Sprintf("%q", s)
}
