package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"workspace-server/internal/workspace"
)

const maxKey = 200

// createWorkspace gives the same answer to the same Idempotency-Key for a day, so that
// a client can repeat a request whose answer it did not get.
func (a *api) createWorkspace(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name        string             `json:"name"`
		Template    string             `json:"template"`
		Parent      string             `json:"parent"`
		Labels      map[string]*string `json:"labels"`
		Desired     workspace.State    `json:"desired"`
		IdleMinutes int64              `json:"idle_minutes"`
	}
	body, err := decode(w, r, &in)
	if err != nil {
		return err
	}
	req, err := requestOf(r, body)
	if err != nil {
		return err
	}
	if req.Key != "" {
		// The first answer stands, even if the template is gone by now.
		made, found, err := a.Workspaces.Replay(r.Context(), req)
		if err != nil {
			return err
		}
		if found {
			return writeMade(w, made)
		}
	}
	start := in.Desired == workspace.StateRunning
	if !start && in.Desired != "" && in.Desired != workspace.StateStopped {
		return workspace.Errorf(workspace.Invalid, "The field \"desired\" must be %s, which starts the workspace, or %s.",
			workspace.StateRunning, workspace.StateStopped)
	}
	if start && a.Instances == nil {
		return runsNothing()
	}
	labels, err := labelsOf(in.Labels)
	if err != nil {
		return err
	}
	made, err := workspace.New(workspace.Spec{
		Name: in.Name, Template: in.Template, Parent: in.Parent, Labels: labels, IdleMinutes: in.IdleMinutes, Start: start,
	}, time.Now())
	if err != nil {
		return err
	}
	if made.Template != "" {
		if err := a.Templates.Use(made.Template); err != nil {
			return err
		}
	}
	made, err = a.Workspaces.Create(r.Context(), made, req)
	if err != nil {
		return err
	}
	return writeMade(w, made)
}

// writeMade answers 201 if a new workspace is in its desired state, else 202.
func writeMade(w http.ResponseWriter, made workspace.Workspace) error {
	w.Header().Set("Location", "/v1/workspaces/"+made.ID)
	if made.Status.State != made.Desired {
		return writeWorkspace(w, http.StatusAccepted, made)
	}
	return writeWorkspace(w, http.StatusCreated, made)
}

// labelsOf fails with Invalid on null, which would otherwise become an empty text.
func labelsOf(given map[string]*string) (workspace.Labels, error) {
	labels := workspace.Labels{}
	for name, value := range given {
		if value == nil {
			return nil, workspace.Errorf(workspace.Invalid, "The label %.80q must not be null. Send a text, or leave it out.", name)
		}
		labels[name] = *value
	}
	return labels, nil
}

func requestOf(r *http.Request, body []byte) (workspace.Request, error) {
	by := callerOf(r).ID
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return workspace.Request{By: by}, nil
	}
	if len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return workspace.Request{}, workspace.Errorf(workspace.Invalid,
			"The header Idempotency-Key must be at most %d printable ASCII characters.", maxKey)
	}
	sum := sha256.Sum256(body)
	return workspace.Request{Key: key, Fingerprint: hex.EncodeToString(sum[:]), By: by}, nil
}

func (a *api) getWorkspace(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	found, err := a.Workspaces.Get(r.Context(), id)
	if err != nil {
		return err
	}
	if done, err := notModified(w, r, etag(found)); done || err != nil {
		return err
	}
	return writeWorkspace(w, http.StatusOK, found)
}

// deleteWorkspace refuses to delete a workspace with children, unless the parameter
// "children" says what happens to them. It deletes the data that the agent wrote,
// unless "volumes" says to keep it.
func (a *api) deleteWorkspace(w http.ResponseWriter, r *http.Request) error {
	id, match, err := targetOf(r)
	if err != nil {
		return err
	}
	values, err := query(r, nil, "children", "volumes")
	if err != nil {
		return err
	}
	children := workspace.Children(cmp.Or(values.Get("children"), string(workspace.Refuse)))
	if err := workspace.CheckChildren(children); err != nil {
		return err
	}
	volumes := cmp.Or(values.Get("volumes"), "delete")
	if volumes != "delete" && volumes != "keep" {
		return workspace.Errorf(workspace.Invalid, "The parameter \"volumes\" must be delete or keep.")
	}
	if err := a.Workspaces.Delete(r.Context(), id, children, volumes == "keep", match); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func pathID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if !workspace.IsID(id) {
		return "", workspace.Errorf(workspace.NotFound, "There is no workspace %.80q.", id)
	}
	return id, nil
}

func writeWorkspace(w http.ResponseWriter, status int, found workspace.Workspace) error {
	w.Header().Set("ETag", etag(found))
	return writeJSON(w, status, found)
}

func (a *api) listTemplates(w http.ResponseWriter, _ *http.Request) error {
	all, err := a.Templates.List()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"items": all})
}
