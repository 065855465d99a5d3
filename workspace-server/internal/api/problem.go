package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"workspace-server/internal/workspace"
)

// problem is an error as RFC 9457 describes it. The type is always about:blank:
// the title says no more than the status.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"` // 0: that of the kind
	Detail    string         `json:"detail"`
	Kind      workspace.Kind `json:"kind,omitempty"`
	RequestID string         `json:"request_id"`

	allow      string
	challenge  string
	retryAfter string // seconds
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// bad is an error that HTTP has a status of its own for.
func bad(status int, detail string) error {
	return &problem{Status: status, Detail: detail, Kind: workspace.Invalid}
}

// statusOf is the table of the statuses that kinds of errors have in HTTP.
func statusOf(kind workspace.Kind) int {
	switch kind {
	case workspace.Invalid:
		return http.StatusBadRequest
	case workspace.Unauthorized:
		return http.StatusUnauthorized
	case workspace.Forbidden:
		return http.StatusForbidden
	case workspace.NotFound:
		return http.StatusNotFound
	case workspace.Conflict:
		return http.StatusConflict
	case workspace.Gone:
		return http.StatusGone
	case workspace.Stale:
		return http.StatusPreconditionFailed
	case workspace.Limited:
		return http.StatusTooManyRequests
	case workspace.BadGateway:
		return http.StatusBadGateway
	case workspace.Unavailable:
		return http.StatusServiceUnavailable
	default: // workspace.Internal
		return http.StatusInternalServerError
	}
}

// problemOf returns what a client may know about err.
func problemOf(err error) *problem {
	p := problem{Kind: workspace.KindOf(err), Detail: workspace.Message(err)}
	if given, ok := errors.AsType[*problem](err); ok {
		p = *given
	}
	if p.Status == 0 {
		p.Status = statusOf(p.Kind)
	}
	if p.Kind == workspace.Unavailable {
		p.retryAfter = "1"
	}
	return &p
}

func writeProblem(w http.ResponseWriter, p *problem) error {
	p.Type = "about:blank"
	p.Title = http.StatusText(p.Status)
	return write(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	return write(w, status, "application/json", value)
}

// write fails only before it has written anything.
func write(w http.ResponseWriter, status int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // net/http notices a client that went away
	return nil
}
