package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"workspace-server/internal/client"
	"workspace-server/internal/workspace"
)

// maxCandidates is how many workspaces an ambiguous name lists.
const maxCandidates = 10

// lookUp returns the one workspace that a text names by its id, its name, or the
// beginning of its id.
func lookUp(ctx context.Context, api *client.Client, text string) (client.Workspace, error) {
	if workspace.IsID(text) {
		found, err := api.Workspace(ctx, text)
		if err == nil || client.StatusOf(err) != 404 {
			return found, err
		}
	}
	filter := client.Filter{Text: text}
	const mark = "ws_"
	if strings.HasPrefix(text, mark) {
		filter = client.Filter{} // the server does not search for beginnings of ids
	}
	page, err := api.Workspaces(ctx, filter, 0)
	if err != nil {
		return client.Workspace{}, err
	}
	var fit []client.Workspace
	for _, w := range page.Items {
		if w.Value.Name == text || strings.HasPrefix(text, mark) && strings.HasPrefix(w.Value.ID, text) {
			fit = append(fit, w)
		}
	}
	switch len(fit) {
	case 0:
		return client.Workspace{}, errorf(codeNotFound, "there is no workspace %q: '%s list' shows all", text, program)
	case 1:
		return fit[0], nil
	}
	return client.Workspace{}, ambiguous(text, fit)
}

func ambiguous(text string, fit []client.Workspace) error {
	rows := [][]string{}
	for _, w := range fit[:min(len(fit), maxCandidates)] {
		rows = append(rows, []string{w.Value.ID, w.Value.Name, string(w.Value.Status.State), age(w.Value.Created, time.Now())})
	}
	var b strings.Builder
	if err := table(&b, rows); err != nil {
		return err
	}
	more := ""
	if n := len(fit) - maxCandidates; n > 0 {
		more = fmt.Sprintf("\nand %d more", n)
	}
	return errorf(codeUsage, "%q names %d workspaces: choose one by its id:\n%s%s", text, len(fit), strings.TrimRight(b.String(), "\n"), more)
}

// idOf returns the id of the workspace that a text names, or an empty text for one.
func idOf(ctx context.Context, api *client.Client, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	found, err := lookUp(ctx, api, text)
	return found.Value.ID, err
}

// parentOf returns the id of a parent, or workspace.NoParent for itself.
func parentOf(ctx context.Context, api *client.Client, text string) (string, error) {
	if text == workspace.NoParent {
		return text, nil
	}
	return idOf(ctx, api, text)
}
