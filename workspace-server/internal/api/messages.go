package api

import (
	"context"
	"net/http"
	"time"

	"workspace-server/internal/a2a"
	"workspace-server/internal/stream"
	"workspace-server/internal/workspace"
)

const (
	messageTimeout = time.Minute // until a message has arrived

	// wakeTimeout is how long a message waits until its workspace runs.
	wakeTimeout = time.Minute
	// reachEvery is how often it looks at the workspace, besides at each event.
	reachEvery = 250 * time.Millisecond
)

// Messages delivers messages to agents.
type Messages interface {
	// Deliver sends body, which the caller read from r, to an agent, and answers r.
	// It fails with Unavailable when the agent got nothing, and with BadGateway.
	Deliver(w http.ResponseWriter, r *http.Request, to a2a.Target, body []byte) error
}

// sendMessage passes an A2A message to a workspace's agent, and the answer back. It
// wakes a hibernated workspace first.
func (a *api) sendMessage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if _, err := query(r, nil); err != nil {
		return err
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(messageTimeout)); err != nil {
		return err
	}
	// A message that takes all its time must still get an answer, and so must one
	// whose workspace takes all of its own.
	if err := stream.Extend(w, messageTimeout+stream.WriteTimeout); err != nil {
		return err
	}
	body, err := readBytes(w, r, a2a.MaxBody)
	if err != nil {
		return err
	}
	if err := stream.Extend(w, wakeTimeout+stream.WriteTimeout); err != nil {
		return err
	}
	to, err := a.awake(r.Context(), id, callerOf(r).ID)
	if err != nil {
		return err
	}
	if err := a.Agents.Touch(r.Context(), id); err != nil {
		return err
	}
	return a.Messages.Deliver(w, r, to, body)
}

// awake returns where the agent of a workspace is, once the agent is ready. By is
// the id of the caller's token.
func (a *api) awake(ctx context.Context, id, by string) (a2a.Target, error) {
	late := time.NewTimer(wakeTimeout)
	defer late.Stop()
	sub := a.Feed.Subscribe()
	defer sub.Close()
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for {
		now, url, err := a.Agents.Reach(ctx, id)
		if err != nil {
			return a2a.Target{}, err
		}
		switch state := now.Status.State; state {
		case workspace.StateRunning:
			if url != "" {
				return a2a.Target{URL: url}, nil
			}
			// An agent may register before the server has recorded its address.
			if now.Provisioned == now.Generation && now.Address != "" {
				return a2a.Target{Address: now.Address}, nil
			}
		case workspace.StateHibernating, workspace.StateHibernated:
			if a.Instances == nil {
				return a2a.Target{}, runsNothing()
			}
			if _, err := a.Workspaces.Ask(ctx, id, workspace.Wake, by, nil); err != nil {
				return a2a.Target{}, err
			}
			continue
		case workspace.StateStarting:
		default:
			return a2a.Target{}, workspace.Errorf(workspace.Conflict,
				"Workspace %q is %s, so it gets no messages. Start it with POST /v1/workspaces/%s/start.", id, state, id)
		}
		select {
		case <-sub.C:
		case <-tick.C:
		case <-ctx.Done():
			return a2a.Target{}, ctx.Err()
		case <-late.C:
			return a2a.Target{}, workspace.Errorf(workspace.Unavailable,
				"Workspace %q is %s, and its agent could not be reached within %v. It got nothing; try again.", id, now.Status.State, wakeTimeout)
		case <-a.Stopping.Done():
			return a2a.Target{}, workspace.Errorf(workspace.Unavailable,
				"The server is stopping while workspace %q is %s. Its agent got nothing; try again.", id, now.Status.State)
		}
	}
}
