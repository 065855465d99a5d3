// Package process runs each agent as a process of this machine, which outlives
// the server. It is for development, where there is no container engine: it
// limits nothing, whatever the tier, and hides nothing, since an agent has the
// rights of the server's user. Only the environment is its own.
//
// Each agent has a keeper, a process of the same program. The keeper starts the
// agent in a session of its own, bounds its log, and records how it ended. The
// keeper holds a lock on a file as long as it runs, and the kernel releases that
// lock however the keeper ends. So the driver knows what runs, and need not guess
// it from a process number that another process may have by now. On Linux an
// agent ends with its keeper. A service manager that ends all processes of the
// server's control group ends the agents, too (systemd: KillMode=process).
//
// A workspace has a directory, named by its id:
//
//	home/                   the agent's home
//	<generation>/alive      locked by the keeper
//	<generation>/plugins/   links
//	<generation>/log, log.1 what the agent wrote
//	<generation>/instance.json, exit.json
//
// An instance exists from the moment that instance.json does. Whoever changes
// anything holds a lock on the workspace's directory. A keeper inherits that lock
// and holds it until it has written instance.json: so a start is over only then,
// even if the server that began it has gone.
package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

const (
	// replaceGrace is how long an agent has to end before a later generation
	// takes its place.
	replaceGrace = 5 * time.Second

	// pollEvery is how often the driver asks for a lock, or for a process's end.
	pollEvery = 5 * time.Millisecond
)

// Settings say where a driver keeps its state.
type Settings struct {
	Directory string // one for each installation; made when it is needed
}

// Driver implements provision.Provisioner. It starts this program again: the verb
// "keeper" must lead to RunKeeper, and the verb "agent" to the agent.
type Driver struct {
	dir   string
	grace time.Duration
	env   []string // of the keepers, besides PATH
}

// New returns the driver of an installation. It fails if the directory's path is
// empty or cannot be made absolute.
func New(settings Settings) (*Driver, error) {
	if settings.Directory == "" {
		return nil, errors.New("process: no directory is given")
	}
	dir, err := filepath.Abs(settings.Directory)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	return &Driver{dir: dir, grace: replaceGrace}, nil
}

// place returns a workspace's directory.
func (d *Driver) place(id string) (string, error) {
	if !plain(id) {
		return "", workspace.Errorf(workspace.Invalid, "A workspace cannot have the id %q.", id)
	}
	return filepath.Join(d.dir, id), nil
}

// plain reports whether a name is that of a file in a directory.
func plain(name string) bool {
	return name != "" && name[0] != '.' && filepath.IsLocal(name) && filepath.Base(name) == name
}

// Start implements provision.Provisioner.
func (d *Driver) Start(ctx context.Context, spec provision.Spec) (provision.Instance, error) {
	in, err := d.start(ctx, spec)
	if err != nil {
		return provision.Instance{}, advise(fmt.Errorf("start generation %d of workspace %s: %w", spec.Generation, spec.Workspace, err))
	}
	return in, nil
}

// Stop implements provision.Provisioner.
func (d *Driver) Stop(ctx context.Context, workspace string, grace time.Duration) error {
	err := d.stop(ctx, workspace, grace)
	if err == nil || errors.Is(err, fs.ErrNotExist) || provision.IsAbsent(err) {
		return nil
	}
	return advise(fmt.Errorf("stop workspace %s: %w", workspace, err))
}

func (d *Driver) stop(ctx context.Context, workspace string, grace time.Duration) error {
	place, err := d.place(workspace)
	if err != nil {
		return err
	}
	lock, err := lockDirectory(ctx, place, false)
	if err != nil {
		return err
	}
	// The lock only waits for a start that is not over. It is not held during the
	// grace time, so that another call can end the process sooner.
	current, err := newest(place)
	if err := errors.Join(err, lock.Close()); err != nil {
		return err
	}
	return current.end(ctx, grace)
}

// Remove implements provision.Provisioner.
func (d *Driver) Remove(ctx context.Context, workspace string, keepData bool) error {
	err := d.remove(ctx, workspace, keepData)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return advise(fmt.Errorf("remove workspace %s: %w", workspace, err))
}

func (d *Driver) remove(ctx context.Context, workspace string, keepData bool) error {
	place, err := d.place(workspace)
	if err != nil {
		return err
	}
	lock, err := lockDirectory(ctx, place, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	current, err := newest(place)
	if err == nil {
		err = current.end(ctx, 0)
	}
	if err != nil && !provision.IsAbsent(err) {
		return err
	}
	if err := forget(place, -1); err != nil || keepData {
		return err
	}
	return removeAll(place)
}
