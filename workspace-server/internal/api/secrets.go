package api

import (
	"context"
	"net/http"

	"workspace-server/internal/secret"
	"workspace-server/internal/workspace"
)

// Secrets is what the API needs of the secrets. No method returns a value.
type Secrets interface {
	// List fails with NotFound when there is no such workspace.
	List(ctx context.Context, workspace string) ([]secret.Secret, error)
	// Put reports whether the secret is new. It fails with Invalid, with
	// NotFound when there is no such workspace, and with Conflict when there
	// are too many.
	Put(ctx context.Context, p secret.Place, value string) (bool, error)
	// Delete fails with NotFound.
	Delete(ctx context.Context, p secret.Place) error
}

// placeOf returns the workspace of the path, empty where there is none, and
// the name of the secret, likewise.
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
		return workspace.Errorf(workspace.Invalid, "value is required")
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
	// What cannot be a name is not asked of the database.
	if p.Check() != nil {
		return workspace.Errorf(workspace.NotFound, "There is no secret %.80q here.", p.Name)
	}
	if err := a.Secrets.Delete(r.Context(), p); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
