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

// provisioner returns what runs workspaces, nil if nothing does.
func provisioner(ctx context.Context, cfg config.Config, s *store.Store) (provision.Provisioner, error) {
	if cfg.Provisioner == config.NoProvisioner {
		return nil, nil
	}
	installation, err := s.Installation(ctx)
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

// reconciler returns what brings workspaces where they are wanted. Agents reach
// this machine's server at ln, unless a setting says otherwise.
func reconciler(
	cfg config.Config, ln net.Listener, p provision.Provisioner, s *store.Store, secrets *secret.Vault, sub *events.Subscription, log *slog.Logger,
) *reconcile.Reconciler {
	platform := cfg.PlatformURL
	if platform == "" {
		platform = "http://" + config.DialAddr(ln.Addr().String())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	return &reconcile.Reconciler{
		Desk:        s,
		Provisioner: p,
		Outfitter: outfit.Maker{
			Templates: catalog.NewTemplates(cfg.TemplatesDir),
			Files:     files.New(cfg.StateDirectory),
			Attached:  s,
			Plugins:   catalog.NewPlugins(cfg.PluginsDir),
			Secrets:   secrets,
			Tokens:    s,
			Platform:  platform,
		},
		Owner: fmt.Sprintf("%s, %d, %s", host, os.Getpid(), rand.Text()[:8]),
		Log:   log,
		Wake:  sub.C,
	}
}

// instances is what the API sees of a provisioner.
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
