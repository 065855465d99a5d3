// Package token says what a token is and what its holder may do. It does no I/O.
package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"workspace-server/internal/workspace"
)

// Role is what a token's holder may do.
type Role string

// The roles.
const (
	Admin     Role = "admin"     // everything
	Workspace Role = "workspace" // the affairs of one workspace, as its agent needs them
)

// MaxName is the greatest number of characters of a token's name.
const MaxName = 100

const (
	// mark begins every secret, so that scanners find one that got into a
	// repository.
	mark        = "wst_"
	secretBytes = 32
	prefixChars = 8 // of the secret, after mark: enough to recognise it, too few to guess it
)

// Secret is the text that a caller sends. The server shows it once and stores it
// nowhere.
type Secret string

// IsSecret reports whether a text can be a token's secret.
func IsSecret(text string) bool {
	encoded, found := strings.CutPrefix(text, mark)
	bytes, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	// Decoding skips line breaks, so the length must be right too.
	return found && err == nil && len(bytes) == secretBytes && len(encoded) == base64.RawURLEncoding.EncodedLen(secretBytes)
}

// Hash returns what the server stores of a secret. It needs no salt and no slow
// function: a secret is 256 random bits.
func (s Secret) Hash() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (s Secret) prefix() string { return string(s[:len(mark)+prefixChars]) }

// Token is what the server knows of a token. Times are epoch milliseconds, 0 for
// never.
type Token struct {
	ID        string `json:"id"`
	Prefix    string `json:"prefix"` // of the secret
	Name      string `json:"name"`
	Role      Role   `json:"role"`
	Workspace string `json:"workspace,omitempty"` // of the role workspace
	Created   int64  `json:"created"`
	Expires   int64  `json:"expires"`
	Revoked   int64  `json:"revoked"`
	LastUsed  int64  `json:"last_used"`
}

// Spec is what a new token is made from.
type Spec struct {
	Name      string
	Role      Role
	Workspace string        // with the role workspace
	Lifetime  time.Duration // 0: for ever
}

// NewSecret returns a secret of 256 random bits.
func NewSecret() Secret {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return Secret(mark + base64.RawURLEncoding.EncodeToString(b[:]))
}

// New makes a token for a secret. It fails with Invalid.
func New(spec Spec, secret Secret, now time.Time) (Token, error) {
	t := Token{
		ID:        "tok_" + strings.ToLower(rand.Text()),
		Prefix:    secret.prefix(),
		Name:      strings.TrimSpace(spec.Name),
		Role:      spec.Role,
		Workspace: spec.Workspace,
		Created:   now.UnixMilli(),
	}
	if spec.Lifetime != 0 {
		t.Expires = now.Add(spec.Lifetime).UnixMilli()
	}
	return t, t.check()
}

func (t Token) check() error {
	invalid := func(format string, args ...any) error { return workspace.Errorf(workspace.Invalid, format, args...) }
	switch {
	case !utf8.ValidString(t.Name) || strings.ContainsFunc(t.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("The name holds a character that cannot be printed. Leave it out.")
	case utf8.RuneCountInString(t.Name) > MaxName:
		return invalid("The name has more than %d characters. Shorten it.", MaxName)
	case t.Role != Admin && t.Role != Workspace:
		return invalid("The role must be %s or %s.", Admin, Workspace)
	case t.Role == Admin && t.Workspace != "":
		return invalid("A token of the role admin belongs to no workspace. Leave the workspace out, or choose the role workspace.")
	case t.Role == Workspace && !workspace.IsID(t.Workspace):
		return invalid("A token of the role workspace needs the id of its workspace.")
	case t.Expires != 0 && t.Expires <= t.Created:
		return invalid("A token must be valid for some time. Choose a later expiry.")
	}
	return nil
}

// IsID reports whether a text can be the id of a token.
func IsID(text string) bool {
	id, found := strings.CutPrefix(text, "tok_")
	return found && id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// Check fails with Unauthorized when a token is no longer valid.
func (t Token) Check(now time.Time) error {
	switch {
	case t.Revoked != 0:
		return workspace.Errorf(workspace.Unauthorized, "This token was revoked. Ask an administrator for another one.")
	case t.Expires != 0 && t.Expires <= now.UnixMilli():
		return workspace.Errorf(workspace.Unauthorized, "This token has expired. Ask an administrator for another one.")
	}
	return nil
}

// MayUse fails with Forbidden unless a token's holder may use a workspace. The error
// does not tell whether the workspace exists.
func (t Token) MayUse(id string) error {
	if t.Role == Admin || t.Role == Workspace && t.Workspace == id {
		return nil
	}
	return workspace.Errorf(workspace.Forbidden, "This token is for workspace %q only. Send a token of the role admin.", t.Workspace)
}

// MayAdmin fails with Forbidden unless a token is an administrator's.
func (t Token) MayAdmin() error {
	if t.Role == Admin {
		return nil
	}
	return workspace.Errorf(workspace.Forbidden, "This needs a token of the role admin.")
}

// Store stores tokens. Each method may fail with Unavailable when the database
// cannot be reached, and with Internal.
type Store interface {
	// CreateToken fails with NotFound when there is no such workspace.
	CreateToken(ctx context.Context, t Token, hash string) error

	// Authenticate returns the token of a secret and records its use. It fails with
	// Gone when the token was removed with its workspace, with Unauthorized when it
	// does not exist, and as Check does.
	Authenticate(ctx context.Context, hash string) (Token, error)

	// Tokens returns at most limit tokens after the cursor, newest first, and the
	// cursor of the next page, which is zero on the last.
	Tokens(ctx context.Context, after workspace.Cursor, limit int) ([]Token, workspace.Cursor, error)

	// RevokeToken ends a token for good; it stays listed. A token that is revoked
	// already does not change. It fails with NotFound.
	RevokeToken(ctx context.Context, id string) error
}
