package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"workspace-server/internal/workspace"
)

// The states that commands ask for, and the one that a workspace enters when it
// cannot reach them.
const (
	Running    workspace.State = "running"
	Paused     workspace.State = "paused"
	Hibernated workspace.State = "hibernated"
	Failed     workspace.State = "failed"
)

// Workspace is a workspace and the JSON that it was read from.
type Workspace = Document[workspace.Workspace]

// Filter selects the workspaces of a list, as the API's parameters do.
type Filter struct {
	State, Parent, Template, Text string
	Labels                        []string // a name, or name=value
}

func (f Filter) query() url.Values {
	values := url.Values{}
	for name, value := range map[string]string{"state": f.State, "parent": f.Parent, "template": f.Template, "q": f.Text} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(f.Labels) > 0 {
		values["label"] = f.Labels
	}
	return values
}

// Workspaces lists the workspaces that pass a filter, newest first: all, or the first
// limit if that is above 0.
func (c *Client) Workspaces(ctx context.Context, filter Filter, limit int) (Page[workspace.Workspace], error) {
	return list[workspace.Workspace](ctx, c, call{method: "GET", path: []string{"workspaces"}, query: filter.query()}, limit)
}

// Peers lists the peers of a workspace, as Workspaces does.
func (c *Client) Peers(ctx context.Context, id string, filter Filter, limit int) (Page[workspace.Workspace], error) {
	return list[workspace.Workspace](ctx, c, call{method: "GET", path: []string{"workspaces", id, "peers"}, query: filter.query()}, limit)
}

// Workspace returns the workspace with an id.
func (c *Client) Workspace(ctx context.Context, id string) (found Workspace, err error) {
	return found, c.do(ctx, call{method: "GET", path: []string{"workspaces", id}}, &found)
}

// Spec is what a workspace is made from.
type Spec struct {
	Name        string            `json:"name"`
	Template    string            `json:"template,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	IdleMinutes int64             `json:"idle_minutes,omitempty"`
	Desired     workspace.State   `json:"desired,omitempty"` // empty: the server's choice
}

// Create creates a workspace. While the server is away or busy it tries again, until
// ctx is done: the key, which names this one workspace, keeps the server from creating
// it twice.
func (c *Client) Create(ctx context.Context, spec Spec, key string) (made Workspace, err error) {
	in := call{method: "POST", path: []string{"workspaces"}, header: http.Header{"Idempotency-Key": {key}}, body: spec}
	return made, c.retry.do(ctx, func() error { return c.do(ctx, in, &made) })
}

// Update changes a workspace by a merge patch if it still has the revision.
func (c *Client) Update(ctx context.Context, id string, revision int64, patch map[string]any) (updated Workspace, err error) {
	header := ifMatch(revision)
	header.Set("Content-Type", "application/merge-patch+json")
	return updated, c.do(ctx, call{method: "PATCH", path: []string{"workspaces", id}, header: header, body: patch}, &updated)
}

// Delete deletes a workspace if it still has the revision; 0 means any. The server
// chooses for an empty children or volumes.
func (c *Client) Delete(ctx context.Context, id string, revision int64, children, volumes string) error {
	values := url.Values{}
	if children != "" {
		values.Set("children", children)
	}
	if volumes != "" {
		values.Set("volumes", volumes)
	}
	return c.do(ctx, call{method: "DELETE", path: []string{"workspaces", id}, query: values, header: ifMatch(revision)}, nil)
}

// Act requests an action: start, pause, hibernate or restart. It returns the
// workspace as the server noted it, before the action is done.
func (c *Client) Act(ctx context.Context, id, action string, revision int64) (noted Workspace, err error) {
	return noted, c.do(ctx, call{method: "POST", path: []string{"workspaces", id, action}, header: ifMatch(revision)}, &noted)
}

func ifMatch(revision int64) http.Header {
	if revision == 0 {
		return http.Header{}
	}
	return http.Header{"If-Match": {strconv.Quote(strconv.FormatInt(revision, 10))}}
}

// pollEvery is how long Await waits between two looks.
const pollEvery = 200 * time.Millisecond

// Await looks at a workspace until done accepts it. It waits for a server that is
// away meanwhile.
func (c *Client) Await(ctx context.Context, id string, done func(workspace.Workspace) bool) (found Workspace, err error) {
	for {
		err := c.retry.do(ctx, func() (err error) {
			found, err = c.Workspace(ctx, id)
			return err
		})
		if err != nil || done(found.Value) {
			return found, err
		}
		if err := c.retry.pause(ctx, pollEvery); err != nil {
			return found, err
		}
	}
}

// Transition is a change of a workspace's state.
type Transition struct {
	Revision int64           `json:"revision"`
	At       int64           `json:"at"` // epoch milliseconds
	From     workspace.State `json:"from"`
	To       workspace.State `json:"to"`
	Reason   string          `json:"reason"`
	Message  string          `json:"message"`
	By       string          `json:"by"` // a token's id
}

// Transitions lists the transitions of a workspace, newest first: all, or the first
// limit if that is above 0.
func (c *Client) Transitions(ctx context.Context, id string, limit int) (Page[Transition], error) {
	return list[Transition](ctx, c, call{method: "GET", path: []string{"workspaces", id, "transitions"}}, limit)
}

// Logs copies the last tail lines that a workspace's agent printed to w, or all if
// tail is below 0. With follow it goes on with new lines until ctx is done or the
// server ends the answer.
func (c *Client) Logs(ctx context.Context, id string, tail int, follow bool, w io.Writer) error {
	values := url.Values{}
	if tail >= 0 {
		values.Set("tail", strconv.Itoa(tail))
	}
	if follow {
		values.Set("follow", "1")
	}
	resp, err := c.open(ctx, call{method: "GET", path: []string{"workspaces", id, "logs"}, query: values}, forever)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return c.unreachable(ctx, err)
	}
	return nil
}
