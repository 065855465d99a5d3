package api

import (
	"context"
	"net/http"

	"workspace-server/internal/secret"
	"workspace-server/internal/workspace"
)

// Secrets stores secrets. No method returns a value.
type Secrets interface {
	// List fails with NotFound when the workspace does not exist.
	List(ctx context.Context, workspace string) ([]secret.Secret, error)
	// Put reports whether the secret is new. It fails with Invalid, with NotFound
	// when the workspace does not exist, and with Conflict when there are too many.
	Put(ctx context.Context, p secret.Place, value string) (bool, error)
	// Delete fails with NotFound.
	Delete(ctx context.Context, p secret.Place) error
}

// placeOf returns the workspace and the secret that a path names; either may be
// empty.
func placeOf(r *http.Request) (secret.Place, error) {
	p := secret.Place{Workspace: r.PathValue("id"), Name: r.PathValue("name")}
	if p.Workspace == "" {
		return p, nil
	}
	_, err := pathID(r)
	return p, err
}

func (a *api) listSecrets(w http.ResponseWriter, r *http.Request) error {
	p, err := placeOf(r)
	if err != nil {
		return err
	}
	items, err := a.Secrets.List(r.Context(), p.Workspace)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"items": items})
}

func (a *api) putSecret(w http.ResponseWriter, r *http.Request) error {
	p, err := placeOf(r)
	if err != nil {
		return err
	}
	var in struct {
		Value *string `json:"value"`
	}
	if _, err := decode(w, r, &in); err != nil {
		return err
	}
	if in.Value == nil {
		return workspace.Errorf(workspace.Invalid, "The field \"value\" is required.")
	}
	fresh, err := a.Secrets.Put(r.Context(), p, *in.Value)
	if err != nil {
		return err
	}
	status := http.StatusNoContent
	if fresh {
		status = http.StatusCreated
	}
	w.WriteHeader(status)
	return nil
}

func (a *api) deleteSecret(w http.ResponseWriter, r *http.Request) error {
	p, err := placeOf(r)
	if err != nil {
		return err
	}
	// The database is not asked about a text that cannot be a name.
	if p.Check() != nil {
		return workspace.Errorf(workspace.NotFound, "There is no secret %.80q here. List the secrets to see which there are.", p.Name)
	}
	if err := a.Secrets.Delete(r.Context(), p); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
