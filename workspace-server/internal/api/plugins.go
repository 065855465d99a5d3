package api

import (
	"net/http"

	"workspace-server/internal/catalog"
	"workspace-server/internal/workspace"
)

// Plugins reads the plugins that can be attached.
type Plugins interface {
	// List fails with Unavailable.
	List() ([]catalog.Plugin, error)
	// Get fails with NotFound, with Invalid when the plugin has errors, and with
	// Unavailable.
	Get(name string) (catalog.Plugin, error)
}

// attached is a plugin of a workspace, and whether it still has its digest.
type attached struct {
	workspace.Attachment
	Current bool `json:"current"`
}

func (a *api) listPlugins(w http.ResponseWriter, _ *http.Request) error {
	all, err := a.Plugins.List()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"items": all})
}

func (a *api) listAttached(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	all, err := a.Attachments.Plugins(r.Context(), id)
	if err != nil {
		return err
	}
	items := []attached{}
	for _, item := range all {
		p, err := a.Plugins.Get(item.Name)
		switch workspace.KindOf(err) {
		case workspace.NotFound, workspace.Invalid: // then it does not have its digest
		default:
			if err != nil {
				return err
			}
		}
		items = append(items, attached{item, err == nil && p.Digest == item.Digest})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"items": items})
}

// attachPlugin pins a plugin to its current digest, which a client that looked at
// the plugin can name.
func (a *api) attachPlugin(w http.ResponseWriter, r *http.Request) error {
	id, match, err := targetOf(r)
	if err != nil {
		return err
	}
	var in struct {
		Digest *string `json:"digest"`
	}
	if r.ContentLength != 0 {
		if _, err := decode(w, r, &in); err != nil {
			return err
		}
	}
	if _, err := a.existing(r); err != nil {
		return err
	}
	p, err := a.Plugins.Get(r.PathValue("name"))
	if err != nil {
		return err
	}
	if in.Digest != nil && *in.Digest != p.Digest {
		return workspace.Errorf(workspace.Conflict, "The plugin %q now has the digest %s, not %.80q. Read it again, then retry.", p.Name, p.Digest, *in.Digest)
	}
	made, fresh, err := a.Attachments.AttachPlugin(r.Context(), id, p.Name, p.Digest, match)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if fresh {
		status = http.StatusCreated
	}
	return writeJSON(w, status, attached{made, true})
}

func (a *api) detachPlugin(w http.ResponseWriter, r *http.Request) error {
	id, match, err := targetOf(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	// The database is not asked about a text that cannot be a name.
	if workspace.CheckPluginName(name) != nil {
		return workspace.Errorf(workspace.NotFound, "The workspace has no plugin %.80q.", name)
	}
	if err := a.Attachments.DetachPlugin(r.Context(), id, name, match); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
