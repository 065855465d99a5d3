package api

import (
	"net/http"

	"workspace-server/internal/workspace"
)

// maxRegistration leaves room for what a registration holds besides a card.
const maxRegistration = workspace.MaxCard + 8<<10

// leased tells an agent how long its lease lasts, and how often to renew it.
type leased struct {
	Lease     int64 `json:"lease_seconds"`
	Heartbeat int64 `json:"heartbeat_seconds"`
}

// registerAgent records that the agent of a workspace is ready.
func (a *api) registerAgent(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	body, err := readBodyUpTo(w, r, "application/json", maxRegistration)
	if err != nil {
		return err
	}
	var in workspace.Registration
	if err := unmarshal(body, &in); err != nil {
		return err
	}
	if err := in.Check(); err != nil {
		return err
	}
	if err := a.Agents.Register(r.Context(), id, in); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, leased{int64(workspace.AgentLease.Seconds()), int64(workspace.AgentHeartbeat.Seconds())})
}

// heartbeat renews the lease of an agent and records what it does.
func (a *api) heartbeat(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in workspace.Heartbeat
	if _, err := decode(w, r, &in); err != nil {
		return err
	}
	if err := in.Check(); err != nil {
		return err
	}
	if err := a.Agents.Heartbeat(r.Context(), id, in); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) getAgent(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	found, err := a.Agents.Agent(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found)
}

func (a *api) getCard(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return a.writeCard(w, r, id)
}

func (a *api) getPeerCard(w http.ResponseWriter, r *http.Request) error {
	peer, err := a.peerOf(r)
	if err != nil {
		return err
	}
	return a.writeCard(w, r, peer)
}

func (a *api) writeCard(w http.ResponseWriter, r *http.Request, id string) error {
	found, err := a.Agents.Agent(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found.Card)
}
