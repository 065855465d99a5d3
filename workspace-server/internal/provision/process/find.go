package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"workspace-server/internal/provision"
)

// Inspect implements provision.Provisioner.
func (d *Driver) Inspect(ctx context.Context, workspace string) (provision.Instance, error) {
	current, err := d.find(ctx, workspace)
	if err != nil {
		return provision.Instance{}, err
	}
	return current.instance(), nil
}

// find returns the record of a workspace's instance. It takes no lock.
func (d *Driver) find(ctx context.Context, workspace string) (record, error) {
	if err := ctx.Err(); err != nil {
		return record{}, err
	}
	place, err := d.place(workspace)
	if err != nil {
		return record{}, err
	}
	current, err := newest(place)
	if err != nil && !provision.IsAbsent(err) {
		return record{}, fmt.Errorf("find workspace %s: %w", workspace, err)
	}
	return current, err
}

// List implements provision.Provisioner.
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
