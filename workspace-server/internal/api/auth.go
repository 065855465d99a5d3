package api

import (
	"context"
	"net/http"
	"strings"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// access says who may use a route.
type access string

const (
	public access = "public" // everybody, without a token
	anyone access = "anyone" // whoever has a token; the answer depends on it
	own    access = "own"    // the workspace that the path names, and administrators
	admin  access = "admin"  // administrators
)

// A caller is whom a request comes from.
type caller struct {
	token.Token
	hash string
}

type callerKey struct{}

// callerOf returns who sent a request that is not public.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller) // the zero value may do nothing
	return c
}

// guard lets only those through who have access. It reads nothing of a request
// but its header, and asks the database each time: a token that was revoked is
// of no use from then on, at any server, and without a database nobody has one.
func (a *api) guard(to access, next handler) handler {
	if to == public {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := a.authenticate(r)
		if err != nil {
			return err
		}
		if rec, ok := w.(*recorder); ok {
			rec.caller = c.ID
		}
		if err := a.limits.count(c); err != nil {
			return err
		}
		if err := c.check(to, r); err != nil {
			return err
		}
		return next(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	}
}

func (a *api) authenticate(r *http.Request) (caller, error) {
	given := r.Header.Values("Authorization")
	if len(given) == 0 {
		return caller{}, unauthorized("Send a token, with the header Authorization: Bearer.", "Bearer")
	}
	const invalid = `Bearer error="invalid_token"` // RFC 6750, section 3
	scheme, secret, _ := strings.Cut(given[0], " ")
	secret = strings.TrimSpace(secret)
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || !token.IsSecret(secret) {
		return caller{}, unauthorized("The header Authorization has to be Bearer and one token, which begins with wst_.", invalid)
	}
	hash := token.Secret(secret).Hash()
	if err := a.limits.mayTry(r, hash); err != nil {
		return caller{}, err
	}
	known, err := a.Tokens.Authenticate(r.Context(), hash)
	if workspace.KindOf(err) == workspace.Unauthorized {
		a.limits.failed(r, hash)
		return caller{}, unauthorized(workspace.Message(err), invalid)
	}
	return caller{known, hash}, err
}

func unauthorized(detail, challenge string) error {
	return &problem{Status: http.StatusUnauthorized, Detail: detail, Kind: workspace.Unauthorized, challenge: challenge}
}

// check fails with Forbidden. What it does not know is forbidden.
func (c caller) check(to access, r *http.Request) error {
	switch to {
	case anyone:
		return nil
	case own:
		return c.MayUse(r.PathValue("id"))
	default:
		return c.MayAdmin()
	}
}

// still fails when a caller that began to read some time ago may not any more.
func (a *api) still(ctx context.Context, c caller) error {
	_, err := a.Tokens.Authenticate(ctx, c.hash)
	return err
}
