// Package provision says what the server needs of whatever runs workspaces,
// and nothing of how. A driver is a package below it; all pass the same tests.
package provision

import (
	"context"
	"errors"
	"io"
	"time"
)

// Names of the variables that a driver sets in the environment of an agent,
// besides those of a Spec.
const (
	EnvListen  = "AGENT_LISTEN"  // host:port to listen on, if no socket is passed (LISTEN_FDS)
	EnvConfigs = "AGENT_CONFIGS" // the directory of the workspace's files
	EnvPlugins = "AGENT_PLUGINS" // the directory with one directory for each plugin
)

// Spec is what is to run for a workspace.
type Spec struct {
	Workspace  string // its id
	Generation int64  // of the start; a later one takes an earlier one's place
	Tier       int    // 1 to 4, how much it may use
	Env        map[string]string
	Configs    string            // directory of the server's; what changes in it is seen inside at once
	Plugins    map[string]string // directories of the server's by the plugins' names; read-only inside
}

// State is what has become of an instance.
type State string

// The states.
const (
	Running State = "running"
	Exited  State = "exited"
)

// Instance is what runs, or ran, for a workspace.
type Instance struct {
	Workspace  string
	Generation int64
	State      State
	Address    string    // host:port where the agent is reached from the server
	ExitCode   int       // of what has exited
	Message    string    // why it exited, a sentence for people
	Started    time.Time // when the driver began to make it
}

// Provisioner runs at most one instance of a workspace. It keeps nothing in
// memory that counts: any number of servers may use the same, and each call may
// come again after a crash at any step of the one before. It touches nothing
// that another installation made.
type Provisioner interface {
	// Start makes what Spec says, and returns once the process runs, which is
	// before the agent is ready. If the instance of this generation is there it
	// is returned as it is, also when it has exited; one of an earlier
	// generation is ended first. It refuses to take the place of a later one.
	Start(ctx context.Context, spec Spec) (Instance, error)

	// Stop ends the process, with SIGKILL after a grace time, and waits for the
	// end. What it wrote stays, and so do its logs. There may be none.
	Stop(ctx context.Context, workspace string, grace time.Duration) error

	// Remove ends the process at once and removes all that the driver keeps for
	// the workspace, but for what the workspace itself wrote if that is to be
	// kept. There may be nothing.
	Remove(ctx context.Context, workspace string, keepData bool) error

	// Inspect fails with an error for which IsAbsent is true.
	Inspect(ctx context.Context, workspace string) (Instance, error)

	// List returns all instances of this installation.
	List(ctx context.Context) ([]Instance, error)

	// Logs returns what the instance wrote, from the last tail lines on (all,
	// if that is negative). With follow it goes on until the process has ended,
	// ctx is done, or the reader is closed. It fails as Inspect does.
	Logs(ctx context.Context, workspace string, tail int, follow bool) (io.ReadCloser, error)
}

// absent says that there is no instance of a workspace.
type absent struct{ workspace string }

func (a absent) Error() string { return "workspace " + a.workspace + " has no instance" }

// Absent returns the error of a workspace that has no instance.
func Absent(workspace string) error { return absent{workspace} }

// IsAbsent reports whether there is no instance. Every other error of a driver
// says that it is not known what there is: nothing may be concluded from it, and
// the same call may succeed later.
func IsAbsent(err error) bool {
	_, ok := errors.AsType[absent](err)
	return ok
}
