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
	public access = "public" // everyone, without a token
	anyone access = "anyone" // every holder of a token, on which the answer depends
	own    access = "own"    // administrators, and the workspace that the path names
	peers  access = "peers"  // those of own, and the peers of that workspace
	admin  access = "admin"  // administrators
)

// words says for people who has access, and is empty for a kind that is not known.
func (a access) words() string {
	switch a {
	case public:
		return "no token needed"
	case anyone:
		return "any token"
	case own:
		return "administrators, and the workspace itself"
	case peers:
		return "administrators, the workspace itself, and its peers"
	case admin:
		return "administrators"
	}
	return ""
}

// A caller is the sender of a request, known by its token.
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

// guard lets only callers with access through. It reads only the header of a
// request, and asks the database each time: once a token is revoked, no server
// accepts it, and without a database no one has access.
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
		return caller{}, unauthorized("This needs a token. Send one in the header Authorization: Bearer.", "Bearer")
	}
	const invalid = `Bearer error="invalid_token"` // RFC 6750, section 3
	scheme, secret, _ := strings.Cut(given[0], " ")
	secret = strings.TrimSpace(secret)
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || !token.IsSecret(secret) {
		return caller{}, unauthorized("The header Authorization must be Bearer and one token, which begins with wst_.", invalid)
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
		// The token is late, not guessed, so only its rate is limited.
		if err := a.limits.count(caller{hash: hash}); err != nil {
			return caller{}, err
		}
	}
	return caller{known, hash}, err
}

func unauthorized(detail, challenge string) error {
	return &problem{Kind: workspace.Unauthorized, Detail: detail, challenge: challenge}
}

// check fails with Forbidden, also for a kind of access that it does not know.
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

// mayTalk fails with Forbidden when a workspace may not write to another, or when
// the other does not exist.
func (a *api) mayTalk(ctx context.Context, id, other string) error {
	forbidden := workspace.Errorf(workspace.Forbidden, "Workspace %q has no peer %.80q. List its peers with GET /v1/workspaces/%s/peers.", id, other, id)
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

// still fails when the token of a caller, who began to read some time ago, is no
// longer valid.
func (a *api) still(ctx context.Context, c caller) error {
	_, err := a.Tokens.Authenticate(ctx, c.hash)
	return err
}
