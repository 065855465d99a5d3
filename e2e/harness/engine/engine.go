// Package engine looks at what a Docker engine has, and removes what belongs
// to one compose project.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds a question to the engine.
const patience = 2 * time.Minute

// Docker runs the docker command and returns what it printed to stdout.
func Docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		var said string
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = strings.TrimSpace(string(exit.Stderr))
		}
		return string(out), fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return string(out), nil
}

// Missing says what is missing for tests with containers, or nothing.
func Missing() string {
	ctx := context.Background()
	if _, err := exec.LookPath("docker"); err != nil {
		return "the docker command is missing"
	}
	if _, err := Docker(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return "no Docker engine is reachable"
	}
	if _, err := Docker(ctx, "compose", "version"); err != nil {
		return "docker compose is missing"
	}
	if _, err := Docker(ctx, "buildx", "version"); err != nil {
		return "docker buildx is missing"
	}
	return ""
}

// Required reports whether tests with containers must not be skipped.
func Required() bool { return os.Getenv("REQUIRE_DOCKER") == "1" }

// Need skips a test that needs an engine where there is none.
func Need(t testing.TB) {
	t.Helper()
	missing := Missing()
	switch {
	case missing == "":
	case Required():
		t.Fatalf("REQUIRE_DOCKER=1, but %s", missing)
	default:
		t.Skipf("needs Docker: %s", missing)
	}
}

// kinds are the things that a compose project has: how they are listed, by
// project, and removed.
var kinds = []struct {
	name         string
	list, remove []string
}{
	{"container", []string{"ps", "-aq", "--filter"}, []string{"rm", "-fv"}},
	{"network", []string{"network", "ls", "-q", "--filter"}, []string{"network", "rm"}},
	{"volume", []string{"volume", "ls", "-q", "--filter"}, []string{"volume", "rm", "-f"}},
	// By tag, since projects with the same image share its id; a later build
	// takes the tag away.
	{"image", []string{"images", "--format", `{{if eq .Repository "<none>"}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}`, "--filter"}, []string{"rmi", "-f"}},
}

// Of lists what a compose project has of the given kinds, or of all.
func Of(ctx context.Context, project string, wanted ...string) ([]string, error) {
	var found []string
	for _, k := range kinds {
		if len(wanted) > 0 && !slices.Contains(wanted, k.name) {
			continue
		}
		ids, err := list(ctx, k.list, project)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			found = append(found, k.name+" "+id)
		}
	}
	return found, nil
}

func list(ctx context.Context, args []string, project string) ([]string, error) {
	out, err := Docker(ctx, append(slices.Clone(args), "label=com.docker.compose.project="+project)...)
	return strings.Fields(out), err
}

// agents is the label of what a platform makes for its workspaces.
const agents = "workspace-server.installation"

// Agents lists the containers and volumes of an installation.
func Agents(ctx context.Context, installation string) ([]string, error) {
	var found []string
	for _, k := range kinds {
		if k.name != "container" && k.name != "volume" {
			continue
		}
		out, err := Docker(ctx, append(slices.Clone(k.list), "label="+agents+"="+installation)...)
		if err != nil {
			return nil, err
		}
		for _, id := range strings.Fields(out) {
			found = append(found, k.name+" "+id)
		}
	}
	return found, nil
}

// RemoveInstallation removes what a platform made for its workspaces. While it
// runs it makes that again.
func RemoveInstallation(ctx context.Context, installation string) error {
	found, err := Agents(ctx, installation)
	errs := []error{err}
	for _, thing := range found { // containers first
		kind, id, _ := strings.Cut(thing, " ")
		_, err := Docker(ctx, kind, "rm", "-f", id)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// detach removes the agents that are on a network, with all of their installation.
func detach(ctx context.Context, network string) error {
	out, err := Docker(ctx, "ps", "-aq", "--filter", "network="+network, "--filter", "label="+agents, "--format", `{{.Label "`+agents+`"}}`)
	errs := []error{err}
	for _, installation := range slices.Compact(strings.Fields(out)) {
		errs = append(errs, RemoveInstallation(ctx, installation))
	}
	return errors.Join(errs...)
}

// Remove removes everything that a compose project has.
func Remove(ctx context.Context, project string) error {
	var errs []error
	for _, k := range kinds {
		ids, err := list(ctx, k.list, project)
		if k.name == "network" {
			for _, id := range ids {
				errs = append(errs, detach(ctx, id))
			}
		}
		if err == nil && len(ids) > 0 {
			_, err = Docker(ctx, slices.Concat(k.remove, ids)...)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
