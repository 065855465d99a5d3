// Package process runs each agent as a process of this machine, which outlives
// the server. It is for development, where there is no container engine: it
// limits nothing, whatever the tier, and hides nothing, since an agent has the
// rights of the server's user. Only the environment is its own.
//
// Beside each agent a keeper runs, which is the same program: it starts the
// agent in a session of its own, keeps its output within bounds, and writes
// down how it ended. It holds a lock on a file as long as it runs, and the
// kernel releases a lock in whatever way its holder ends; so what runs is known,
// and not guessed from a number that may be another process's by now. On Linux
// an agent ends with its keeper. A service manager that ends all processes of
// the server's control group ends the agents, too (systemd: KillMode=process).
//
// What there is of a workspace, in a directory of its id:
//
//	home/                   the agent's own
//	<generation>/alive      locked by the keeper
//	<generation>/plugins/   links
//	<generation>/log, log.1 what the agent wrote
//	<generation>/instance.json, exit.json
//
// There is an instance from the moment that instance.json is there. Whoever
// changes anything holds a lock on the workspace's directory. A keeper inherits
// that lock and holds it until it has written instance.json, so that a start is
// not over before, though the server that began it may be gone.
package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"workspace-server/internal/private"
	"workspace-server/internal/provision"
)

const (
	// replaceGrace is how long an agent has to end before a later generation
	// takes its place.
	replaceGrace = 5 * time.Second

	// pollEvery is how often a lock, or the end of a process, is asked for.
	pollEvery = 5 * time.Millisecond
)

// Driver is a provision.Provisioner. The program's verbs "keep" and "agent"
// have to lead to Keep and to the agent.
type Driver struct {
	dir   string
	grace time.Duration
	env   []string // of the keepers, besides PATH
}

// New returns a driver that keeps its state in a directory, which is made when
// it is needed. A directory is an installation.
func New(dir string) (*Driver, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Driver{dir: dir, grace: replaceGrace}, nil
}

// place returns a workspace's directory.
func (d *Driver) place(workspace string) (string, error) {
	if !plain(workspace) {
		return "", fmt.Errorf("%q cannot be a workspace's id", workspace)
	}
	return filepath.Join(d.dir, workspace), nil
}

// plain reports whether a name is that of a file in a directory.
func plain(name string) bool {
	return name != "" && name[0] != '.' && filepath.IsLocal(name) && filepath.Base(name) == name
}

// Start is described at provision.Provisioner.
func (d *Driver) Start(ctx context.Context, spec provision.Spec) (provision.Instance, error) {
	in, err := d.start(ctx, spec)
	if err != nil {
		return provision.Instance{}, fmt.Errorf("start generation %d of workspace %s: %w", spec.Generation, spec.Workspace, err)
	}
	return in, nil
}

func (d *Driver) start(ctx context.Context, spec provision.Spec) (provision.Instance, error) {
	place, err := d.place(spec.Workspace)
	if err != nil {
		return provision.Instance{}, err
	}
	if spec.Generation < 0 {
		return provision.Instance{}, errors.New("generations are not negative")
	}
	lock, err := lockDirectory(ctx, place, true)
	if err != nil {
		return provision.Instance{}, err
	}
	defer lock.Close()
	current, err := newest(place)
	switch {
	case provision.IsAbsent(err):
	case err != nil:
		return provision.Instance{}, err
	case current.Generation == spec.Generation:
		return current.instance(), nil
	case current.Generation > spec.Generation:
		return provision.Instance{}, fmt.Errorf("generation %d is there, which is later", current.Generation)
	default:
		if err := current.end(ctx, d.grace); err != nil {
			return provision.Instance{}, fmt.Errorf("end generation %d: %w", current.Generation, err)
		}
	}
	if err := d.launch(ctx, lock, place, spec); err != nil {
		return provision.Instance{}, err
	}
	made, err := newest(place)
	if err != nil {
		return provision.Instance{}, err
	}
	return made.instance(), forget(place, spec.Generation)
}

// Stop is described at provision.Provisioner.
func (d *Driver) Stop(ctx context.Context, workspace string, grace time.Duration) error {
	err := func() error {
		place, err := d.place(workspace)
		if err != nil {
			return err
		}
		lock, err := lockDirectory(ctx, place, false)
		if err != nil {
			return err
		}
		// The lock is only to wait for a start that is not over. Nobody has to
		// wait for the grace time, who would end the process sooner.
		current, err := newest(place)
		if err := errors.Join(err, lock.Close()); err != nil {
			return err
		}
		return current.end(ctx, grace)
	}()
	if err == nil || errors.Is(err, fs.ErrNotExist) || provision.IsAbsent(err) {
		return nil
	}
	return fmt.Errorf("stop workspace %s: %w", workspace, err)
}

// Remove is described at provision.Provisioner.
func (d *Driver) Remove(ctx context.Context, workspace string, keepData bool) error {
	err := func() error {
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
	}()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove workspace %s: %w", workspace, err)
}

// Inspect is described at provision.Provisioner.
func (d *Driver) Inspect(ctx context.Context, workspace string) (provision.Instance, error) {
	current, err := d.find(ctx, workspace)
	if err != nil {
		return provision.Instance{}, err
	}
	return current.instance(), nil
}

// find returns what there is of a workspace. It waits for nobody.
func (d *Driver) find(ctx context.Context, workspace string) (kept, error) {
	if err := ctx.Err(); err != nil {
		return kept{}, err
	}
	place, err := d.place(workspace)
	if err != nil {
		return kept{}, err
	}
	current, err := newest(place)
	if err != nil && !provision.IsAbsent(err) {
		return kept{}, fmt.Errorf("find workspace %s: %w", workspace, err)
	}
	return current, err
}

// List is described at provision.Provisioner.
func (d *Driver) List(ctx context.Context) ([]provision.Instance, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	var all []provision.Instance
	for _, entry := range entries {
		if !entry.IsDir() || !plain(entry.Name()) {
			continue
		}
		in, err := d.Inspect(ctx, entry.Name())
		if provision.IsAbsent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	return all, nil
}

// lockDirectory takes the lock on a workspace's directory. Closing the file
// releases it, once all who inherited it have closed it as well. Without create
// it fails with fs.ErrNotExist if there is no directory.
func lockDirectory(ctx context.Context, place string, create bool) (*os.File, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if create {
			if err := private.Directory(place); err != nil {
				return nil, err
			}
		}
		f, err := os.Open(place)
		if err != nil {
			if create && errors.Is(err, fs.ErrNotExist) {
				continue // it was removed meanwhile
			}
			return nil, err
		}
		err = wait(ctx, func() (bool, error) { return tryLock(f, true) })
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// What was locked may have been removed by whoever had the lock before.
		locked, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(place); err == nil && os.SameFile(there, locked) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// forget removes all generations but one. An instance is none before anything
// else of it is gone.
func forget(place string, except int64) error {
	all, err := generations(place)
	if err != nil {
		return err
	}
	for _, generation := range all {
		if generation == except {
			continue
		}
		dir := filepath.Join(place, strconv.FormatInt(generation, 10))
		if err := os.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes a directory, also one in which the agent has made directories
// that cannot be written to, as a module cache has them.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) // before it is read
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// wait asks until the answer is true.
func wait(ctx context.Context, ask func() (bool, error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
