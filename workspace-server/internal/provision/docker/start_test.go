package docker

import (
	"errors"
	"testing"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

func TestDecide(t *testing.T) {
	unanswered := errors.New("no answer")
	tests := []struct {
		name       string
		status     string // of the container that was found
		generation string // its label
		err        error  // of find
		want       action
		wantKind   workspace.Kind // of the error; empty: none
	}{
		{"none", "", "", provision.Absent("w"), makeNew, ""},
		{"another's", "", "", foreign{"name", provision.Absent("w")}, "", workspace.Conflict},
		{"no answer", "", "", unanswered, "", workspace.Internal},
		{"running", "running", "2", nil, report, ""},
		{"paused", "paused", "2", nil, report, ""},
		{"restarting", "restarting", "2", nil, report, ""},
		{"exited", "exited", "2", nil, report, ""},
		{"made, not started", "created", "2", nil, resume, ""},
		{"dead", "dead", "2", nil, replace, ""},
		{"being removed", "removing", "2", nil, await, ""},
		{"earlier, running", "running", "1", nil, replace, ""},
		{"earlier, exited", "exited", "1", nil, replace, ""},
		{"earlier, made", "created", "1", nil, replace, ""},
		{"earlier, dead", "dead", "1", nil, replace, ""},
		{"earlier, being removed", "removing", "1", nil, replace, ""},
		{"no generation", "running", "", nil, replace, ""},
		{"a generation that is no number", "running", "x", nil, replace, ""},
		{"later, running", "running", "3", nil, "", workspace.Conflict},
		{"later, exited", "exited", "3", nil, "", workspace.Conflict},
		{"later, dead", "dead", "3", nil, "", workspace.Conflict},
		{"later, being removed", "removing", "3", nil, "", workspace.Conflict},
	}
	for _, tt := range tests {
		var found container
		found.State.Status = tt.status
		found.Config.Labels = map[string]string{labelGeneration: tt.generation}
		got, err := decide(found, tt.err, 2)
		if got != tt.want || (err == nil) != (tt.wantKind == "") || err != nil && workspace.KindOf(err) != tt.wantKind {
			t.Errorf("%s: decide(%s of generation %s, %v, 2) = %q, %v, want %q and an error of kind %q",
				tt.name, tt.status, tt.generation, tt.err, got, err, tt.want, tt.wantKind)
		}
	}
}
