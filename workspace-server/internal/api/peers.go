package api

import (
	"net/http"

	"workspace-server/internal/workspace"
)

// listPeers lists the workspaces that one may talk to, with the parameters of
// every list.
func (a *api) listPeers(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	line, err := a.Workspaces.Line(r.Context(), id)
	if err != nil {
		return err
	}
	return a.list(w, r, line)
}

// getPeer answers with a workspace if another may talk to it. Whether there is
// one that it may not talk to is not told.
func (a *api) getPeer(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	line, err := a.Workspaces.Line(r.Context(), id)
	if err != nil {
		return err
	}
	peer := r.PathValue("peer")
	hidden := workspace.Errorf(workspace.NotFound, "Workspace %q has no peer %.80q.", id, peer)
	if peer == id || !workspace.IsID(peer) {
		return hidden
	}
	other, err := a.Workspaces.Line(r.Context(), peer)
	if workspace.KindOf(err) == workspace.NotFound || err == nil && !workspace.MayTalk(line, other) {
		return hidden
	}
	if err != nil {
		return err
	}
	found, err := a.Workspaces.Get(r.Context(), peer)
	if err != nil {
		return err
	}
	return writeWorkspace(w, http.StatusOK, found)
}
