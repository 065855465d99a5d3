package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"workspace-server/internal/workspace"
)

const mergePatch = "application/merge-patch+json"

// patchWorkspace changes a workspace by a JSON merge patch (RFC 7396).
func (a *api) patchWorkspace(w http.ResponseWriter, r *http.Request) error {
	id, match, err := targetOf(r)
	if err != nil {
		return err
	}
	w.Header().Set("Accept-Patch", mergePatch)
	body, err := readBody(w, r, mergePatch)
	if err != nil {
		return err
	}
	patch, err := parsePatch(body)
	if err != nil {
		return err
	}
	// An agent may name itself, but choose neither its peers nor how long it runs.
	if patch.Parent != nil || patch.IdleMinutes != nil {
		if err := callerOf(r).MayAdmin(); err != nil {
			return err
		}
	}
	patched, err := a.Workspaces.Update(r.Context(), id, patch, match)
	if err != nil {
		return err
	}
	return writeWorkspace(w, http.StatusOK, patched)
}

// parsePatch reads a merge patch strictly: what it cannot change is an error.
func parsePatch(body []byte) (workspace.Patch, error) {
	var patch workspace.Patch
	var document json.RawMessage
	if err := unmarshal(body, &document); err != nil {
		return patch, err
	}
	fields, err := members("body", document)
	if err != nil {
		return patch, err
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		value := fields[field]
		switch field {
		case "name":
			if patch.Name, err = textOrNull(field, value); err == nil && patch.Name == nil {
				err = workspace.Errorf(workspace.Invalid, `The field "name" cannot be removed. Send a name, or leave the field out.`)
			}
		case "parent":
			if patch.Parent, err = textOrNull(field, value); err == nil && patch.Parent == nil {
				patch.Parent = new(string)
			}
		case "labels":
			patch.NoLabels = isNull(value)
			patch.Labels, err = labelsPatch(value)
		case "idle_minutes":
			patch.IdleMinutes, err = minutesOrNull(value)
		case "id", "template", "desired", "status", "generation", "revision", "created", "updated":
			err = workspace.Errorf(workspace.Invalid, "The field %q cannot be changed. A patch may have name, parent, labels and idle_minutes.", field)
		default:
			err = workspace.Errorf(workspace.Invalid, "The field %.80q is unknown. A patch may have name, parent, labels and idle_minutes.", field)
		}
		if err != nil {
			return workspace.Patch{}, err
		}
	}
	return patch, nil
}

func labelsPatch(value json.RawMessage) (map[string]*string, error) {
	if isNull(value) {
		return nil, nil
	}
	fields, err := members(`field "labels"`, value)
	if err != nil {
		return nil, err
	}
	labels := map[string]*string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if labels[name], err = textOrNull("labels."+name, fields[name]); err != nil {
			return nil, err
		}
	}
	return labels, nil
}

func isNull(value json.RawMessage) bool { return string(value) == "null" }

// minutesOrNull returns 0, which means never, for null.
func minutesOrNull(value json.RawMessage) (*int64, error) {
	minutes := new(int64)
	if err := json.Unmarshal(value, minutes); err != nil {
		return nil, workspace.Errorf(workspace.Invalid, `The field "idle_minutes" must be a whole number or null.`)
	}
	return minutes, nil
}

// textOrNull returns nil for null.
func textOrNull(field string, value json.RawMessage) (*string, error) {
	var text *string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, workspace.Errorf(workspace.Invalid, "The field %.80q must be a JSON string or null.", field)
	}
	return text, nil
}

// members returns the members of a JSON object. Unlike json.Unmarshal it refuses two
// members of one name, and compares names exactly.
func members(what string, value json.RawMessage) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(value))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil, workspace.Errorf(workspace.Invalid, "The %s must be a JSON object.", what)
	}
	all := map[string]json.RawMessage{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name := fmt.Sprint(token)
		var member json.RawMessage
		if err := dec.Decode(&member); err != nil {
			return nil, err
		}
		if _, twice := all[name]; twice {
			return nil, workspace.Errorf(workspace.Invalid, "The %s has the field %.80q twice. Send it once.", what, name)
		}
		all[name] = member
	}
	return all, nil
}
