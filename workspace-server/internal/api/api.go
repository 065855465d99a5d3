// Package api is the HTTP interface: the routes, what they accept, and how
// they answer, errors included. What they do is elsewhere.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"workspace-server/internal/feed"
	"workspace-server/internal/templates"
	"workspace-server/internal/workspace"
)

// Templates is what the API needs of the templates.
type Templates interface {
	// List fails with Unavailable.
	List() ([]templates.Template, error)

	// Use fails with Invalid when a workspace cannot be made from the
	// template, and with Unavailable.
	Use(name string) error
}

// Database is what the API needs to report on the database.
type Database interface {
	// Ping fails with Unavailable.
	Ping(ctx context.Context) error

	// Driver returns the name of the kind of database.
	Driver() string
}

// Deps is what the API works with.
type Deps struct {
	Workspaces workspace.Store
	Events     workspace.EventLog
	Feed       *feed.Feed
	Templates  Templates
	Database   Database
	Log        *slog.Logger

	Build   func() string // the running program's identity
	Started time.Time

	// Stopping is done when streams and long polls have to end.
	Stopping context.Context

	// Retry is how long a client of a stream waits before it connects again.
	Retry time.Duration
}

type api struct{ Deps }

// New returns the handler of all routes.
func New(deps Deps) http.Handler {
	a := &api{deps}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]handler{
		"GET /healthz":                         a.getHealth,
		"GET /readyz":                          a.getReady,
		"POST /v1/workspaces":                  a.createWorkspace,
		"GET /v1/workspaces":                   a.listWorkspaces,
		"GET /v1/workspaces/{id}":              a.getWorkspace,
		"PATCH /v1/workspaces/{id}":            a.patchWorkspace,
		"DELETE /v1/workspaces/{id}":           a.deleteWorkspace,
		"GET /v1/workspaces/{id}/peers":        a.listPeers,
		"GET /v1/workspaces/{id}/peers/{peer}": a.getPeer,
		"GET /v1/templates":                    a.listTemplates,
		"GET /v1/events":                       a.getEvents,
	} {
		mux.Handle(pattern, handle)
	}
	return &edge{mux: mux, log: deps.Log}
}
