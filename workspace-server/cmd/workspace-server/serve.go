package main

import (
	"context"
	"devloop/serve"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"workspace-server/internal/a2a"
	"workspace-server/internal/api"
	"workspace-server/internal/config"
	"workspace-server/internal/events"
	"workspace-server/internal/files"
	"workspace-server/internal/store"
)

// How long a client of a stream waits before it connects again. In a reload
// loop the next server is there already.
const (
	retryReload = 20 * time.Millisecond
	retry       = 2 * time.Second
)

// Limits of a connection. Streams extend their own write deadline.
const (
	readHeaderTimeout = 10 * time.Second
	writeTimeout      = 60 * time.Second
	maxHeaderBytes    = 64 << 10

	// idleTimeout is longer than HTTP clients commonly keep a connection, so that the
	// client closes it, which is free of races.
	idleTimeout = 3 * time.Minute
)

// heartbeat is how often a stream without events says that it is alive.
const heartbeat = 15 * time.Second

// serveAPI serves until ctx is done, and then drains. Whatever it starts goes on the
// stop list, so that it stops in the opposite order: the reconciler, the sweeps,
// polling, the streams, the database, the listener.
func serveAPI(ctx context.Context, cfg config.Config, _ []string, getenv func(string) string, s streams) (err error) {
	started := time.Now()
	log := logger(cfg, s)
	log.Debug("starting", "pid", os.Getpid(), "config", cfg)
	var stops stopList
	defer func() { err = errors.Join(err, stops.stop()) }()

	manager, err := serve.Take(getenv, os.Unsetenv)
	if err != nil {
		return err
	}
	// From here on clients wait until the server is ready. If the address is
	// taken, serveAPI fails before it does any work.
	listener, err := manager.Listen(ctx, cfg.ListenAddr)
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

	server := serve.New(httpServer(api.New(api.Deps{
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
	}), log))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Log(ctx, milestones(cfg), "serving", "url", "http://"+listener.Addr().String(), "database", database.Driver(), "pid", os.Getpid(),
		"ready_in", time.Since(started).Round(time.Millisecond))
	tell(log, manager, serve.Ready)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stopping := time.Now()
	server.Stop()
	tell(log, manager, serve.Stopping)
	stopStreams()
	err = drain(ctx, server, cfg.DrainTimeout)
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

// httpServer returns the server of HTTP/1.1.
func httpServer(handler http.Handler, log *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// drain waits for the requests that are under way.
func drain(ctx context.Context, server *serve.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err := server.Drain(ctx)
	if cut, ok := errors.AsType[*serve.CutError](err); ok {
		return fmt.Errorf("%w, since they were not done after %v: allow more with DRAIN_TIMEOUT", cut, timeout)
	}
	return err
}

// tell reports a state to the service manager, which acts on its own if that
// fails.
func tell(log *slog.Logger, manager *serve.Manager, state string) {
	if err := manager.Notify(state); err != nil {
		log.Warn("cannot notify the service manager", "state", state, "error", err)
	}
}
