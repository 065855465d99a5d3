package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"workspace-server/internal/catalog"
	"workspace-server/internal/config"
	"workspace-server/internal/events"
	"workspace-server/internal/files"
	"workspace-server/internal/outfit"
	"workspace-server/internal/provision"
	"workspace-server/internal/provision/docker"
	processes "workspace-server/internal/provision/process"
	"workspace-server/internal/reconcile"
	"workspace-server/internal/secret"
	"workspace-server/internal/store"
	"workspace-server/internal/workspace"
)

// openDriver returns the driver of the setting PROVISIONER, or nil for none.
func openDriver(ctx context.Context, cfg config.Config, storage *store.Store) (provision.Provisioner, error) {
	if cfg.Provisioner == config.NoProvisioner {
		return nil, nil
	}
	installation, err := storage.Installation(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Provisioner == config.Processes {
		return processes.New(processes.Settings{Directory: filepath.Join(cfg.StateDirectory, "agents", installation)})
	}
	settings := docker.Settings{
		Host: cfg.Docker.Host, Installation: installation, Image: cfg.Docker.Image, Network: cfg.Docker.Network,
	}
	if cfg.Docker.StateVolume != "" {
		settings.StateVolume, settings.StateRoot = cfg.Docker.StateVolume, cfg.StateDirectory
	}
	return docker.New(settings)
}

// outfitMaker returns what prepares instances. Their agents reach this machine's
// server at listener, unless a setting says otherwise.
func outfitMaker(
	cfg config.Config, listener net.Listener, storage *store.Store,
	templates catalog.Templates, plugins catalog.Plugins, workspaceFiles files.Dir, secrets *secret.Vault,
) outfit.Maker {
	platform := cfg.PlatformURL
	if platform == "" {
		platform = "http://" + config.DialAddr(listener.Addr().String())
	}
	return outfit.Maker{
		Templates: templates,
		Files:     workspaceFiles,
		Attached:  storage,
		Plugins:   plugins,
		Secrets:   secrets,
		Tokens:    storage,
		Platform:  platform,
	}
}

// startReconciler starts what makes workspaces' states match their desired
// states. It ends with ctx, so that another server goes on while this one drains.
func startReconciler(
	ctx context.Context, storage *store.Store, driver provision.Provisioner, maker outfit.Maker, feed *events.Feed, log *slog.Logger,
) (stop func() error) {
	subscription := feed.Subscribe()
	reconciler := &reconcile.Reconciler{
		Desk:        storage,
		Provisioner: driver,
		Outfitter:   maker,
		Server:      serverName(),
		Log:         log,
		Wake:        subscription.C,
	}
	return background(ctx, func(ctx context.Context) {
		defer subscription.Close()
		reconciler.Run(ctx)
	})
}

// serverName names this process among the servers that share a database.
func serverName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, %d, %s", host, os.Getpid(), rand.Text()[:8])
}

// instances shows a driver to the API.
type instances struct{ provision.Provisioner }

// Logs implements api.Instances.
func (i instances) Logs(ctx context.Context, id string, tail int, follow bool) (io.ReadCloser, error) {
	logs, err := i.Provisioner.Logs(ctx, id, tail, follow)
	switch {
	case provision.IsAbsent(err):
		return nil, workspace.Errorf(workspace.NotFound, "Workspace %q has printed nothing yet.", id)
	case err != nil:
		return nil, workspace.Wrap(workspace.Unavailable, "What the workspace printed cannot be read at the moment.", err)
	}
	return logs, nil
}
