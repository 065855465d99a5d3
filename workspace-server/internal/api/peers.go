package api

import (
	"net/http"

	"workspace-server/internal/workspace"
)

// listPeers lists the peers of a workspace, with the filters of every list.
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

// getPeer answers with a peer of a workspace.
func (a *api) getPeer(w http.ResponseWriter, r *http.Request) error {
	peer, err := a.peerOf(r)
	if err != nil {
		return err
	}
	found, err := a.Workspaces.Get(r.Context(), peer)
	if err != nil {
		return err
	}
	return writeWorkspace(w, http.StatusOK, found)
}

// peerOf returns the id of the peer that a path names. Its error does not tell
// whether a workspace exists that is no peer.
func (a *api) peerOf(r *http.Request) (string, error) {
	id, err := pathID(r)
	if err != nil {
		return "", err
	}
	if _, err := a.Workspaces.Line(r.Context(), id); err != nil {
		return "", err
	}
	peer := r.PathValue("peer")
	if peer != id {
		err = a.mayTalk(r.Context(), id, peer)
	}
	if peer == id || workspace.KindOf(err) == workspace.Forbidden {
		return "", workspace.Errorf(workspace.NotFound, "Workspace %q has no peer %.80q. List its peers with GET /v1/workspaces/%s/peers.", id, peer, id)
	}
	return peer, err
}
