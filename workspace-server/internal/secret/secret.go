// Package secret says what a secret is, and seals its value. It does no I/O.
package secret

import (
	"context"
	"strings"
	"unicode/utf8"

	"workspace-server/internal/workspace"
)

const (
	// MaxName and MaxValue are the greatest lengths of a name and of a value,
	// in bytes.
	MaxName  = 128
	MaxValue = 32 << 10
	// MaxSecrets is how many there may be for all workspaces, and for each.
	MaxSecrets = 100
)

// Secret is what may be known of a secret. Times are epoch milliseconds.
type Secret struct {
	Name    string `json:"name"`
	Created int64  `json:"created"`
	Updated int64  `json:"updated"`
}

// Place is where a secret belongs: to one workspace or, if that is empty, to all.
type Place struct {
	Workspace string
	Name      string
}

// Check fails with Invalid. A name is that of an environment variable, since
// that is how a workspace gets the value.
func (p Place) Check() error {
	valid := p.Name != "" && len(p.Name) <= MaxName && (p.Name[0] < '0' || p.Name[0] > '9') &&
		!strings.ContainsFunc(p.Name, func(r rune) bool {
			return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
		})
	if !valid {
		return workspace.Errorf(workspace.Invalid,
			"A secret's name has to be that of an environment variable: letters, digits and _, not a digit first, at most %d characters.", MaxName)
	}
	for _, prefix := range []string{"WORKSPACE_", "PLATFORM_"} {
		if strings.HasPrefix(p.Name, prefix) {
			return workspace.Errorf(workspace.Invalid, "Names that begin with %s are the platform's own. Choose another one.", prefix)
		}
	}
	return nil
}

// CheckValue fails with Invalid.
func CheckValue(value string) error {
	switch {
	case len(value) > MaxValue:
		return workspace.Errorf(workspace.Invalid, "A secret's value has at most %d KiB.", MaxValue>>10)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return workspace.Errorf(workspace.Invalid, "A secret's value has to be text, without a zero byte.")
	}
	return nil
}

// Store keeps sealed secrets. Each method may also fail with Unavailable, when
// the database cannot be reached, and with Internal.
type Store interface {
	// Secrets lists those of one place's workspace, or those for all, by name.
	// It fails with NotFound when there is no such workspace.
	Secrets(ctx context.Context, workspace string) ([]Secret, error)

	// PutSecret stores what seal returns, and reports whether the secret is
	// new. No Reseal, of any server, is under way when it calls seal. It fails
	// with NotFound when there is no such workspace, and with Conflict when
	// there are MaxSecrets.
	PutSecret(ctx context.Context, p Place, seal func() (Sealed, error)) (bool, error)

	// DeleteSecret fails with NotFound.
	DeleteSecret(ctx context.Context, p Place) error

	// SealedSecrets returns those that a workspace gets: its own, and those
	// for all which its own do not take the place of.
	SealedSecrets(ctx context.Context, workspace string) (map[Place]Sealed, error)

	// Reseal gives all secrets there are to seal, and stores those that it
	// returns, all or none. No other Reseal and no PutSecret, of any server,
	// is under way meanwhile.
	Reseal(ctx context.Context, seal func(all map[Place]Sealed) (map[Place]Sealed, error)) error
}
