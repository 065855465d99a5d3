package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"workspace-server/internal/workspace"
)

// problem is an error as RFC 9457 describes it. The type is always about:blank:
// title and status say the same.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Kind      workspace.Kind `json:"kind,omitempty"`
	RequestID string         `json:"request_id"`

	allow      string
	challenge  string
	retryAfter string // seconds
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// bad is a request that HTTP itself has a status for.
func bad(status int, detail string) error {
	return &problem{Status: status, Detail: detail, Kind: workspace.Invalid}
}

// problemOf returns what a client may know about err.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		copied := *p
		return &copied
	}
	p := &problem{Kind: workspace.KindOf(err), Detail: workspace.Message(err)}
	switch p.Kind {
	case workspace.Invalid:
		p.Status = http.StatusBadRequest
	case workspace.Forbidden:
		p.Status = http.StatusForbidden
	case workspace.NotFound:
		p.Status = http.StatusNotFound
	case workspace.Conflict:
		p.Status = http.StatusConflict
	case workspace.Gone:
		p.Status = http.StatusGone
	case workspace.Stale:
		p.Status = http.StatusPreconditionFailed
	case workspace.Unavailable:
		p.Status = http.StatusServiceUnavailable
		p.retryAfter = "1"
	case workspace.BadGateway:
		p.Status = http.StatusBadGateway
	default:
		p.Status = http.StatusInternalServerError
	}
	return p
}

func writeProblem(w http.ResponseWriter, p *problem) error {
	p.Type = "about:blank"
	p.Title = http.StatusText(p.Status)
	return write(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	return write(w, status, "application/json", value)
}

// write returns an error only if nothing was written yet.
func write(w http.ResponseWriter, status int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A client that has gone away is seen by nobody but net/http.
	_, _ = w.Write(append(body, '\n'))
	return nil
}
