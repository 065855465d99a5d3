// Package provision says what the server needs of a driver, which runs
// workspaces, and nothing of how. A driver is a package below it; all drivers
// pass the same tests.
package provision

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"workspace-server/internal/workspace"
)

// Names of the variables that a driver sets in the environment of an agent,
// besides those of a Spec.
const (
	EnvListen  = "AGENT_LISTEN"  // host:port to listen on, if no socket is passed (LISTEN_FDS)
	EnvConfigs = "AGENT_CONFIGS" // the directory of the workspace's files
	EnvPlugins = "AGENT_PLUGINS" // the directory with one directory for each plugin
)

// Spec is what a driver starts for a workspace.
type Spec struct {
	Workspace  string // its id
	Generation int64  // a later one takes the place of an earlier one
	Tier       int    // 1 to 4, how much it may use
	Env        map[string]string
	Configs    string            // a directory of the server's; the agent sees changes in it at once
	Plugins    map[string]string // directories of the server's by the plugins' names; read-only to the agent
}

// State is what the driver observes of an instance.
type State string

// The states.
const (
	Running State = "running"
	Exited  State = "exited"
)

// Instance is one run of a workspace's agent.
type Instance struct {
	Workspace  string
	Generation int64
	State      State
	Address    string    // host:port where the server reaches the agent
	ExitCode   int       // if it has exited
	Message    string    // why it exited, a sentence for people
	Started    time.Time // when the driver began to make it
}

// Provisioner runs at most one instance of a workspace. It keeps no state in
// memory: any number of servers may use the same installation, and each call may
// be repeated after a crash at any step of the previous one. It touches nothing
// that another installation made.
//
// An error of a kind (workspace.KindOf) has a message for the workspace's owner
// that says what to do. Any other error is for the log alone.
type Provisioner interface {
	// Start makes an instance, and returns once its process runs, which is before
	// the agent is ready. It returns an instance of this generation as it is, even
	// if that has exited. It ends an instance of an earlier generation first, and
	// refuses to replace one of a later.
	Start(ctx context.Context, spec Spec) (Instance, error)

	// Stop ends the process, with SIGKILL after a grace time, and waits for its
	// end. What the agent wrote stays, and so do its logs. Stop of no instance
	// does nothing.
	Stop(ctx context.Context, workspace string, grace time.Duration) error

	// Remove ends the process at once and removes all that the driver keeps for
	// the workspace. With keepData, what the agent wrote stays. Remove of nothing
	// does nothing.
	Remove(ctx context.Context, workspace string, keepData bool) error

	// Inspect returns the instance. If there is none, IsAbsent is true for the
	// error.
	Inspect(ctx context.Context, workspace string) (Instance, error)

	// List returns all instances of this installation.
	List(ctx context.Context) ([]Instance, error)

	// Logs returns what the instance wrote, from the last tail lines on (all, if
	// tail is negative). With follow it continues until the process has ended, ctx
	// is done, or the reader is closed. It fails as Inspect does.
	Logs(ctx context.Context, workspace string, tail int, follow bool) (io.ReadCloser, error)
}

// absent says that there is no instance of a workspace.
type absent struct{ workspace string }

func (a absent) Error() string { return "workspace " + a.workspace + " has no instance" }

// Absent returns the error for a workspace that has no instance.
func Absent(workspace string) error { return absent{workspace} }

// IsAbsent reports whether there is no instance. After any other error of a
// driver it is unknown what there is: conclude nothing from it, the same call may
// succeed later.
func IsAbsent(err error) bool {
	_, ok := errors.AsType[absent](err)
	return ok
}

// Environment merges variables, of which later ones win, into NAME=value pairs,
// sorted by name. It fails with Invalid if a program cannot be passed one of them;
// the error does not show values.
func Environment(layers ...map[string]string) ([]string, error) {
	all := map[string]string{}
	for _, layer := range layers {
		maps.Copy(all, layer)
	}
	pairs := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return nil, workspace.Errorf(workspace.Invalid, "A variable cannot have the name %q. Give the secret another name.", name)
		case strings.Contains(all[name], "\x00"):
			return nil, workspace.Errorf(workspace.Invalid, "The variable %q holds a NUL byte, which an agent cannot be passed. Set the secret to another value.", name)
		}
		pairs = append(pairs, name+"="+all[name])
	}
	return pairs, nil
}
