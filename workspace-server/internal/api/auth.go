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
	peers  access = "peers"  // those of own, and workspaces that may talk to the one that the path names
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
		if err := a.check(c, to, r); err != nil {
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
	switch workspace.KindOf(err) {
	case workspace.Unauthorized:
		a.limits.failed(r, hash)
		return caller{}, unauthorized(workspace.Message(err), invalid)
	case workspace.Gone:
		// It is late, and no guess: only how often it comes is limited.
		if err := a.limits.count(caller{hash: hash}); err != nil {
			return caller{}, err
		}
	}
	return caller{known, hash}, err
}

func unauthorized(detail, challenge string) error {
	return &problem{Status: http.StatusUnauthorized, Detail: detail, Kind: workspace.Unauthorized, challenge: challenge}
}

// check fails with Forbidden. What it does not know is forbidden.
func (a *api) check(c caller, to access, r *http.Request) error {
	id := r.PathValue("id")
	switch to {
	case anyone:
		return nil
	case own:
		return c.MayUse(id)
	case peers:
		if c.MayUse(id) == nil {
			return nil
		}
		return a.mayTalk(r.Context(), c.Workspace, id)
	default:
		return c.MayAdmin()
	}
}

// mayTalk fails with Forbidden when a workspace may not talk to another, or
// when there is no such other.
func (a *api) mayTalk(ctx context.Context, id, other string) error {
	forbidden := workspace.Errorf(workspace.Forbidden, "Workspace %q has no peer %.80q.", id, other)
	if !workspace.IsID(other) {
		return forbidden
	}
	from, err := a.Workspaces.Line(ctx, id)
	if err != nil {
		return err
	}
	to, err := a.Workspaces.Line(ctx, other)
	switch {
	case workspace.KindOf(err) == workspace.NotFound, err == nil && !workspace.MayTalk(from, to):
		return forbidden
	}
	return err
}

// still fails when a caller that began to read some time ago may not any more.
func (a *api) still(ctx context.Context, c caller) error {
	_, err := a.Tokens.Authenticate(ctx, c.hash)
	return err
}
