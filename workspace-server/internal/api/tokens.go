package api

import (
	"net/http"
	"time"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// maxLifetime is the longest lifetime of a token that expires.
const maxLifetime = 10 * 365 * 24 * time.Hour

// made is a new token with its secret, which no later answer contains.
type made struct {
	token.Token
	Secret token.Secret `json:"secret"`
}

func (a *api) createToken(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name      string     `json:"name"`
		Role      token.Role `json:"role"`
		Workspace string     `json:"workspace"`
		ExpiresIn *int64     `json:"expires_in"` // seconds; nil: never
	}
	if _, err := decode(w, r, &in); err != nil {
		return err
	}
	spec := token.Spec{Name: in.Name, Role: in.Role, Workspace: in.Workspace}
	if in.ExpiresIn != nil {
		if *in.ExpiresIn < 1 || *in.ExpiresIn > int64(maxLifetime/time.Second) {
			return workspace.Errorf(workspace.Invalid, "The field \"expires_in\" must be a number of seconds from 1 to %d.", int64(maxLifetime/time.Second))
		}
		spec.Lifetime = time.Duration(*in.ExpiresIn) * time.Second
	}
	secret := token.NewSecret()
	t, err := token.New(spec, secret, time.Now())
	if err != nil {
		return err
	}
	if err := a.Tokens.CreateToken(r.Context(), t, secret.Hash()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made{t, secret})
}

func (a *api) listTokens(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, nil, "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := number(values, "limit", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	const scope = "tokens"
	cursor, err := decodeCursor(values.Get("cursor"), scope)
	if err != nil {
		return err
	}
	items, next, err := a.Tokens.Tokens(r.Context(), cursor, int(limit))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page[token.Token]{Items: items, Next: encodeCursor(next, scope)})
}

// getSelf answers with the caller's own token.
func (a *api) getSelf(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, callerOf(r).Token)
}

func (a *api) revokeToken(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if !token.IsID(id) {
		return workspace.Errorf(workspace.NotFound, "There is no token %.80q. List the tokens to see which there are.", id)
	}
	if err := a.Tokens.RevokeToken(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
