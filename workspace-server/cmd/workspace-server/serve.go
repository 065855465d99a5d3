package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"workspace-server/internal/a2a"
	"workspace-server/internal/api"
	"workspace-server/internal/config"
	"workspace-server/internal/events"
	"workspace-server/internal/files"
	"workspace-server/internal/server"
	"workspace-server/internal/store"
	"workspace-server/internal/systemd"
)

// How long a client of a stream waits before it connects again. In a reload
// loop the next server is there already.
const (
	retryReload = 20 * time.Millisecond
	retry       = 2 * time.Second
)

// heartbeat is how often a stream without events says that it is alive.
const heartbeat = 15 * time.Second

// serve serves until ctx is done, and then drains. Whatever it starts goes on the
// stop list, so that it stops in the opposite order: the reconciler, the sweeps,
// polling, the streams, the database, the listener.
func serve(ctx context.Context, cfg config.Config, _ []string, getenv func(string) string, s streams) (err error) {
	started := time.Now()
	log := logger(cfg, s)
	log.Debug("starting", "pid", os.Getpid(), "config", cfg)
	var stops stopList
	defer func() { err = errors.Join(err, stops.stop()) }()

	manager, err := systemd.Take(getenv, os.Unsetenv)
	if err != nil {
		return err
	}
	// From here on clients wait until the server is ready. If the address is
	// taken, serve fails before it does any work.
	listener, err := listen(ctx, cfg, manager)
	if err != nil {
		return err
	}
	stops.add(func() error { _ = listener.Close(); return nil }) // the drain has closed it already

	templates, plugins := openCatalogs(cfg, log)
	workspaceFiles := files.New(cfg.StateDirectory)

	database, err := openDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	stops.add(database.Close)
	feed := events.NewFeed(log)
	storage := store.New(database, feed.Wake)

	// First: a server that does not belong to the database leaves nothing there.
	secrets, err := openVault(ctx, cfg, storage, log)
	if err != nil {
		return err
	}
	if err := ensureAdmin(ctx, cfg, storage, log); err != nil {
		return err
	}

	streaming, stopStreams := context.WithCancel(context.WithoutCancel(ctx))
	stops.add(func() error { stopStreams(); return nil })
	stops.add(startPolling(ctx, database, storage, feed, log))
	stops.add(startSweeps(ctx, cfg, storage, log))

	driver, err := openDriver(ctx, cfg, storage)
	if err != nil {
		return err
	}
	var running api.Instances // nil if this server runs no workspaces
	if driver != nil {
		running = instances{driver}
		maker := outfitMaker(cfg, listener, storage, templates, plugins, workspaceFiles, secrets)
		stops.add(startReconciler(ctx, storage, driver, maker, feed, log))
	}

	httpServer := server.New(api.New(api.Deps{
		Workspaces:  storage,
		Events:      storage,
		Feed:        feed,
		Tail:        events.NewTail(storage),
		Templates:   templates,
		Agents:      storage,
		Messages:    a2a.New(a2a.Options{Networks: cfg.AgentNetworks, Stopping: streaming}),
		Tokens:      storage,
		Secrets:     secrets,
		Instances:   running,
		Files:       workspaceFiles,
		Database:    database,
		Log:         log,
		Build:       buildOnce(),
		Started:     started,
		Stopping:    streaming,
		Retry:       retryOf(cfg),
		Heartbeat:   heartbeat,
		RateLimit:   cfg.RateLimit,
		Plugins:     plugins,
		Attachments: storage,
	}), log)
	failed := make(chan error, 1)
	go func() { failed <- httpServer.Serve(listener) }()
	log.Log(ctx, milestones(cfg), "serving", "url", "http://"+listener.Addr().String(), "database", database.Driver(), "pid", os.Getpid(),
		"ready_in", time.Since(started).Round(time.Millisecond))
	tell(log, manager, systemd.Ready)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stopping := time.Now()
	err = httpServer.Drain(cfg.DrainTimeout, func() {
		tell(log, manager, systemd.Stopping)
		stopStreams()
	})
	log.Log(ctx, milestones(cfg), "stopped", "pid", os.Getpid(), "drained_in", time.Since(stopping).Round(time.Millisecond))
	return errors.Join(err, <-failed)
}

// milestones returns the level of the log lines about start and stop. A reload
// loop reports both itself, at every edit.
func milestones(cfg config.Config) slog.Level {
	if cfg.WatchReload {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func retryOf(cfg config.Config) time.Duration {
	if cfg.WatchReload {
		return retryReload
	}
	return retry
}

// listen returns the socket that the service manager passed, or opens one.
func listen(ctx context.Context, cfg config.Config, manager systemd.Environment) (net.Listener, error) {
	if ln, err := manager.Listener(); ln != nil || err != nil {
		return ln, err
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", cfg.ListenAddr)
}

// tell reports a state to the service manager, which acts on its own if that
// fails.
func tell(log *slog.Logger, manager systemd.Environment, state string) {
	if err := manager.Notify(state); err != nil {
		log.Warn("cannot notify the service manager", "state", state, "error", err)
	}
}
