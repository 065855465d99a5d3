// Package secret defines secrets and seals their values. A Vault stores them:
// the keys in a file, the sealed values in the database.
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

// Secret is what the API tells about a secret. Times are in milliseconds since
// 1970.
type Secret struct {
	Name    string `json:"name"`
	Created int64  `json:"created"`
	Updated int64  `json:"updated"`
}

// Place is where a secret belongs: to one workspace, or to all if Workspace is
// empty.
type Place struct {
	Workspace string
	Name      string
}

// Check fails with Invalid if an environment variable cannot have the name, since
// agents get the value in one, or if the platform needs the name.
func (p Place) Check() error {
	valid := p.Name != "" && len(p.Name) <= MaxName && (p.Name[0] < '0' || p.Name[0] > '9') &&
		!strings.ContainsFunc(p.Name, func(r rune) bool {
			return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
		})
	if !valid {
		return workspace.Errorf(workspace.Invalid,
			"A secret's name must be one for an environment variable: letters, digits and _, no digit first, at most %d characters.", MaxName)
	}
	for _, prefix := range []string{"WORKSPACE_", "PLATFORM_"} {
		if strings.HasPrefix(p.Name, prefix) {
			return workspace.Errorf(workspace.Invalid, "Names that begin with %s belong to the platform. Choose another name.", prefix)
		}
	}
	return nil
}

// CheckValue fails with Invalid if an environment variable cannot hold the value.
func CheckValue(value string) error {
	switch {
	case len(value) > MaxValue:
		return workspace.Errorf(workspace.Invalid, "A secret's value may have at most %d KiB.", MaxValue>>10)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return workspace.Errorf(workspace.Invalid, "A secret's value must be UTF-8 text without a zero byte.")
	}
	return nil
}

// Store stores sealed secrets. Each method may also fail with Unavailable, when
// the database does not answer, and with Internal.
type Store interface {
	// Secrets lists a workspace's secrets, or those for all if workspace is
	// empty, by name. It fails with NotFound when there is no such workspace.
	Secrets(ctx context.Context, workspace string) ([]Secret, error)

	// PutSecret stores what seal returns, and reports whether the secret is new.
	// Seal gets the key check, or nil. No server runs Reseal while PutSecret
	// calls seal. It fails with NotFound when there is no such workspace, and
	// with Conflict when the place has MaxSecrets.
	PutSecret(ctx context.Context, p Place, seal func(check *Sealed) (Sealed, error)) (bool, error)

	// DeleteSecret fails with NotFound.
	DeleteSecret(ctx context.Context, p Place) error

	// SealedSecrets returns the secrets that a workspace's agent gets: its own,
	// and those for all that its own do not replace.
	SealedSecrets(ctx context.Context, workspace string) (map[Place]Sealed, error)

	// KeyCheck returns the key check, or nil if the database has none.
	KeyCheck(ctx context.Context) (*Sealed, error)

	// Reseal calls seal with all secrets, and the key check at the zero Place if
	// there is one, and stores all that it returns, or none. Meanwhile no server runs
	// PutSecret or another Reseal.
	Reseal(ctx context.Context, seal func(all map[Place]Sealed) (map[Place]Sealed, error)) error
}
