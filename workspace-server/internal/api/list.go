package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"

	"workspace-server/internal/workspace"
)

const (
	defaultPage = 50
	maxPage     = 200
)

// page is part of a list. Next is the cursor of the next page, empty on the last.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

func (a *api) listWorkspaces(w http.ResponseWriter, r *http.Request) error {
	return a.list(w, r, nil)
}

// list answers with the workspaces that pass all filters, among the peers of one
// workspace if its line is given.
func (a *api) list(w http.ResponseWriter, r *http.Request, peersOf workspace.Line) error {
	values, err := query(r, []string{"label"}, "limit", "cursor", "state", "parent", "template", "q")
	if err != nil {
		return err
	}
	limit, err := number(values, "limit", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	filter := workspace.Filter{
		State:    workspace.State(values.Get("state")),
		Template: values.Get("template"),
		Parent:   values.Get("parent"),
		Text:     values.Get("q"),
		PeersOf:  peersOf,
	}
	for _, label := range values["label"] {
		filter.Labels = append(filter.Labels, workspace.ParseLabelFilter(label))
	}
	if err := filter.Check(); err != nil {
		return err
	}
	scope := scopeOf(values, peersOf)
	cursor, err := decodeCursor(values.Get("cursor"), scope)
	if err != nil {
		return err
	}
	items, next, err := a.Workspaces.List(r.Context(), filter, cursor, int(limit))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page[workspace.Workspace]{Items: items, Next: encodeCursor(next, scope)})
}

// scopeOf returns a short text that is the same for the same filters, and empty
// without any. A cursor is valid only within its scope.
func scopeOf(values url.Values, peersOf workspace.Line) string {
	filters := url.Values{}
	for _, name := range []string{"state", "parent", "template", "q"} {
		if value := values.Get(name); value != "" {
			filters.Set(name, value)
		}
	}
	if labels := slices.Sorted(slices.Values(values["label"])); len(labels) > 0 {
		filters["label"] = slices.Compact(labels)
	}
	if len(peersOf) > 0 {
		filters.Set("peers of", peersOf[0])
	}
	if len(filters) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(filters.Encode()))
	return hex.EncodeToString(sum[:8])
}
