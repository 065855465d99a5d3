package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"workspace-server/internal/stream"
	"workspace-server/internal/workspace"
)

// ask returns the handler that requests an action. It answers before the action is
// done: the workspace's status tells when.
func (a *api) ask(action workspace.Action) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, match, err := targetOf(r)
		if err != nil {
			return err
		}
		if _, err := query(r, nil); err != nil {
			return err
		}
		if a.Instances == nil {
			return runsNothing()
		}
		asked, err := a.Workspaces.Ask(r.Context(), id, action, callerOf(r).ID, match)
		if err != nil {
			return err
		}
		return writeWorkspace(w, http.StatusAccepted, asked)
	}
}

func runsNothing() error {
	return workspace.Errorf(workspace.Conflict, "This server runs no workspaces. Its administrator must set PROVISIONER.")
}

// listTransitions lists a workspace's transitions, newest first. The cursor is the
// revision that a page ended with.
func (a *api) listTransitions(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	values, err := query(r, nil, "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := number(values, "limit", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	before, err := decodeCursor(values.Get("cursor"), "transitions")
	if err != nil {
		return err
	}
	if before.ID != "" && before.ID != id {
		return workspace.Errorf(workspace.Invalid, `The parameter "cursor" is from another workspace's list. Start without a cursor.`)
	}
	// One more than requested tells whether there is a next page.
	items, err := a.Workspaces.Transitions(r.Context(), id, before.Created, int(limit)+1)
	if err != nil {
		return err
	}
	var next workspace.Cursor
	if len(items) > int(limit) {
		items = items[:limit]
		next = workspace.Cursor{Created: items[limit-1].Revision, ID: id}
	}
	return writeJSON(w, http.StatusOK, page[workspace.Transition]{Items: items, Next: encodeCursor(next, "transitions")})
}

const (
	wholeLog = -1
	maxTail  = 100_000
)

// getLogs answers with the lines that a workspace's instance printed, or the last of
// them. With "follow=1" it goes on until the instance or the server ends.
func (a *api) getLogs(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	values, err := query(r, nil, "tail", "follow")
	if err != nil {
		return err
	}
	tail, err := number(values, "tail", wholeLog, 0, maxTail)
	if err != nil {
		return err
	}
	follow, err := strconv.ParseBool(values.Get("follow"))
	if err != nil && values.Get("follow") != "" {
		return workspace.Errorf(workspace.Invalid, `The parameter "follow" must be 0 or 1.`)
	}
	if _, err := a.Workspaces.Get(r.Context(), id); err != nil {
		return err
	}
	if a.Instances == nil {
		return runsNothing()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.Stopping, cancel)()
	logs, err := a.Instances.Logs(ctx, id, int(tail), follow)
	if err != nil {
		return err
	}
	defer logs.Close()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if follow {
		h.Set("Connection", "close") // as for a stream of events
	}
	out := stream.New(a.Stopping, w, stream.WriteTimeout)
	defer out.Close()
	if !out.Flush() {
		return nil
	}
	for buf := make([]byte, 32<<10); ; {
		n, err := logs.Read(buf)
		if n > 0 && !out.Write(buf[:n]) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}
