// Package api is the HTTP interface: the routes, what they accept, and how they
// answer, errors included. Other packages do the work.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"workspace-server/internal/catalog"
	"workspace-server/internal/events"
	"workspace-server/internal/metrics"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// Templates reads the templates.
type Templates interface {
	// List fails with Unavailable.
	List() ([]catalog.Template, error)

	// Use fails with Invalid when no workspace can be made from the template, and
	// with Unavailable.
	Use(name string) error
}

// Database reports on the database.
type Database interface {
	// Ping fails with Unavailable.
	Ping(ctx context.Context) error

	// Driver returns the name of the kind of database, such as sqlite.
	Driver() string
}

// Instances reads what the instances of workspaces print.
type Instances interface {
	// Logs returns the last tail lines that a workspace's instance printed, or all
	// if tail is negative; with follow it goes on with new lines. It fails with
	// NotFound when there is nothing to read.
	Logs(ctx context.Context, id string, tail int, follow bool) (io.ReadCloser, error)
}

// Deps holds what the API works with.
type Deps struct {
	Workspaces  workspace.Store
	Events      workspace.EventLog
	Feed        *events.Feed
	Tail        *events.Tail // of Events
	Templates   Templates
	Tokens      token.Store
	Secrets     Secrets
	Instances   Instances // nil: this server runs no workspaces
	Files       Files
	Agents      workspace.Registry
	Messages    Messages
	Database    Database
	Log         *slog.Logger
	Plugins     Plugins
	Attachments workspace.Plugins

	Build   func() string // the running program's identity
	Started time.Time

	// Stopping is done when streams and long polls must end.
	Stopping context.Context

	// Retry is how long a client of a stream waits before it connects again.
	Retry time.Duration
	// Heartbeat is how often a stream says that it is alive and checks that its
	// client's token is still valid.
	Heartbeat time.Duration

	// RateLimit is how many requests a second each token may send; 0 means any
	// number. With a limit, wrong tokens are limited too.
	RateLimit int
}

type api struct {
	Deps
	limits   limits
	requests *metrics.Requests // the edge's
	streams  atomic.Int64      // the open streams of events
}

// A route is a method and a path, who may use it, and what answers.
type route struct {
	pattern string
	access  access
	handle  handler
}

func (a *api) routes() []route {
	return []route{
		{"GET /healthz", public, a.getHealth},
		{"GET /readyz", public, a.getReady},
		{"GET /openapi.json", public, a.getDocument},
		{"GET /docs", public, a.getPage},
		{"GET /metrics", admin, a.getMetrics},
		{"POST /v1/workspaces", admin, a.createWorkspace},
		{"GET /v1/workspaces", admin, a.listWorkspaces},
		{"GET /v1/workspaces/{id}", own, a.getWorkspace},
		{"PATCH /v1/workspaces/{id}", own, a.patchWorkspace},
		{"DELETE /v1/workspaces/{id}", admin, a.deleteWorkspace},
		{"POST /v1/workspaces/{id}/start", admin, a.ask(workspace.Start)},
		{"POST /v1/workspaces/{id}/pause", admin, a.ask(workspace.Pause)},
		{"POST /v1/workspaces/{id}/hibernate", admin, a.ask(workspace.Hibernate)},
		{"POST /v1/workspaces/{id}/restart", admin, a.ask(workspace.Restart)},
		{"GET /v1/workspaces/{id}/transitions", own, a.listTransitions},
		{"GET /v1/workspaces/{id}/logs", own, a.getLogs},
		{"GET /v1/workspaces/{id}/peers", own, a.listPeers},
		{"GET /v1/workspaces/{id}/peers/{peer}", own, a.getPeer},
		{"GET /v1/workspaces/{id}/peers/{peer}/agent-card", own, a.getPeerCard},
		{"POST /v1/workspaces/{id}/register", own, a.registerAgent},
		{"POST /v1/workspaces/{id}/heartbeat", own, a.heartbeat},
		{"GET /v1/workspaces/{id}/agent", own, a.getAgent},
		{"GET /v1/workspaces/{id}/agent-card", own, a.getCard},
		{"POST /v1/workspaces/{id}/a2a", peers, a.sendMessage},
		{"GET /v1/templates", admin, a.listTemplates},
		{"GET /v1/events", anyone, a.getEvents},
		{"GET /v1/secrets", admin, a.listSecrets},
		{"PUT /v1/secrets/{name}", admin, a.putSecret},
		{"DELETE /v1/secrets/{name}", admin, a.deleteSecret},
		{"GET /v1/workspaces/{id}/secrets", admin, a.listSecrets},
		{"PUT /v1/workspaces/{id}/secrets/{name}", admin, a.putSecret},
		{"DELETE /v1/workspaces/{id}/secrets/{name}", admin, a.deleteSecret},
		{"GET /v1/workspaces/{id}/files", own, a.listFiles},
		{"GET /v1/workspaces/{id}/files/{path...}", own, a.getFile},
		{"PUT /v1/workspaces/{id}/files/{path...}", admin, a.putFile},
		{"DELETE /v1/workspaces/{id}/files/{path...}", admin, a.deleteFile},
		{"GET /v1/plugins", admin, a.listPlugins},
		{"GET /v1/workspaces/{id}/plugins", admin, a.listAttached},
		{"PUT /v1/workspaces/{id}/plugins/{name}", admin, a.attachPlugin},
		{"DELETE /v1/workspaces/{id}/plugins/{name}", admin, a.detachPlugin},
		{"POST /v1/tokens", admin, a.createToken},
		{"GET /v1/tokens", admin, a.listTokens},
		{"DELETE /v1/tokens/{id}", admin, a.revokeToken},
		{"GET /v1/tokens/self", anyone, a.getSelf},
	}
}

// New returns the handler of all routes.
func New(deps Deps) http.Handler {
	a := &api{Deps: deps, limits: newLimits(deps.RateLimit, time.Now)}
	mux := http.NewServeMux()
	e := &edge{mux: mux, log: deps.Log}
	a.requests = &e.requests
	for _, r := range a.routes() {
		mux.Handle(r.pattern, a.guard(r.access, r.handle))
	}
	return e
}
