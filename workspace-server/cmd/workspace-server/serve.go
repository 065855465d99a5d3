package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"workspace-server/internal/a2a"
	"workspace-server/internal/api"
	"workspace-server/internal/bootstrap"
	"workspace-server/internal/catalog"
	"workspace-server/internal/config"
	"workspace-server/internal/events"
	"workspace-server/internal/files"
	"workspace-server/internal/migrate"
	"workspace-server/internal/secret"
	"workspace-server/internal/server"
	"workspace-server/internal/store"
	"workspace-server/internal/sweep"
	"workspace-server/internal/systemd"
	"workspace-server/migrations"
)

// How long a client of a stream waits before it connects again. In a reload
// loop the next server is there already.
const (
	retryReload = 20 * time.Millisecond
	retry       = 2 * time.Second
)

// heartbeat is how often a stream without events says that it is alive.
const heartbeat = 15 * time.Second

// serve serves until ctx is done, and then drains.
func serve(ctx context.Context, cfg config.Config, _ []string, getenv func(string) string, s streams) (err error) {
	started := time.Now()
	log := logger(cfg, s)
	log.Debug("starting", "pid", os.Getpid(), "config", cfg)

	manager, err := systemd.Take(getenv, os.Unsetenv)
	if err != nil {
		return err
	}
	// Clients that come before the server is ready wait; and that an address
	// is taken is known at once.
	ln, err := listen(ctx, cfg, manager)
	if err != nil {
		return err
	}
	// Once it serves, the server has closed it, and this does nothing.
	defer ln.Close()
	dir := catalog.NewTemplates(cfg.TemplatesDir)
	if err := dir.Check(); err != nil {
		log.Warn("there are no templates", "error", err)
	}
	extras := catalog.NewPlugins(cfg.PluginsDir)
	if err := extras.Check(); err != nil {
		log.Warn("there are no plugins", "error", err)
	}
	db, err := openDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	if err := firstToken(ctx, cfg, db, log); err != nil {
		return err
	}

	secrets := secret.NewVault(cfg.StateDirectory, store.New(db, func(int64) {}))
	if path, made, err := secrets.Init(); err != nil {
		return err
	} else if made {
		log.Info("made the key of the secrets; keep a copy of it", "file", path)
	}
	// Polling and streams outlive ctx, so that they end in their turn.
	polling, stopPolling := context.WithCancel(context.WithoutCancel(ctx))
	streaming, stopStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStreams()
	feed := events.NewFeed(log)
	workspaces := store.New(db, feed.Wake)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopPolling()
	wg.Go(func() { ageLabels(polling, workspaces, log) })
	wg.Go(func() { feed.Run(polling, workspaces.LastEvent) })
	wg.Go(func() { db.Listen(polling, log, feed.Hint) })
	runs, err := provisioner(ctx, cfg, workspaces)
	if err != nil {
		return err
	}
	var running api.Instances // nil unless something runs workspaces
	if runs != nil {
		running = instances{runs}
		sub := feed.Subscribe()
		defer sub.Close()
		r := reconciler(cfg, ln, runs, workspaces, secrets, sub, log)
		// It ends with ctx, so that another server goes on while this one drains.
		wg.Go(func() { r.Run(ctx) })
	}
	old := sweep.Sweeper{What: "events", Keep: cfg.EventRetention, Remove: workspaces.RemoveEvents, Log: log}
	wg.Go(func() { old.Run(polling) })
	past := sweep.Sweeper{What: "transitions", Keep: cfg.EventRetention, Remove: workspaces.RemoveTransitions, Log: log}
	wg.Go(func() { past.Run(polling) })
	late := sweep.Sweeper{What: "tokens of removed workspaces", Keep: cfg.EventRetention, Remove: workspaces.ForgetTokens, Log: log}
	wg.Go(func() { late.Run(polling) })

	srv := server.New(api.New(api.Deps{
		Workspaces:  workspaces,
		Events:      workspaces,
		Feed:        feed,
		Tail:        events.NewTail(workspaces),
		Templates:   dir,
		Agents:      workspaces,
		Messages:    a2a.New(a2a.Options{Networks: cfg.AgentNetworks, Stopping: streaming}),
		Tokens:      workspaces,
		Secrets:     secrets,
		Instances:   running,
		Files:       files.New(cfg.StateDirectory),
		Database:    db,
		Log:         log,
		Build:       buildOnce(),
		Started:     started,
		Stopping:    streaming,
		Retry:       retryOf(cfg),
		Heartbeat:   heartbeat,
		RateLimit:   cfg.RateLimit,
		Plugins:     extras,
		Attachments: workspaces,
	}), log)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	log.Log(ctx, milestones(cfg), "serving", "url", "http://"+ln.Addr().String(), "database", db.Driver(), "pid", os.Getpid(),
		"ready_in", time.Since(started).Round(time.Millisecond))
	tell(log, manager, systemd.Ready)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stopping := time.Now()
	err = srv.Drain(cfg.DrainTimeout, func() {
		tell(log, manager, systemd.Stopping)
		stopStreams()
	})
	log.Log(ctx, milestones(cfg), "stopped", "pid", os.Getpid(), "drained_in", time.Since(stopping).Round(time.Millisecond))
	return errors.Join(err, <-failed)
}

// milestones is the level at which start and stop are logged. A reload loop
// says both by itself, at every edit.
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

// tell reports a state. A manager that cannot be told will act on its own.
func tell(log *slog.Logger, manager systemd.Environment, state string) {
	if err := manager.Notify(state); err != nil {
		log.Warn("the service manager was not told", "error", err)
	}
}

// migrateOnly is what serve does first.
func migrateOnly(ctx context.Context, cfg config.Config, _ []string, _ func(string) string, s streams) error {
	log := logger(cfg, s)
	db, err := openDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	log.Info("the schema is up to date", "database", db.Driver())
	return db.Close()
}

// firstToken sees to it that somebody can use the server. In development the
// file is wanted whatever tokens there are: the database may be older than the
// state directory, and a developer has no other way in.
func firstToken(ctx context.Context, cfg config.Config, db *store.DB, log *slog.Logger) error {
	tokens := store.New(db, func(int64) {}) // they are no events
	first, err := bootstrap.Admin(ctx, cfg.StateDirectory, cfg.Env == config.Development, tokens)
	switch {
	case err != nil:
		return err
	case first.Made:
		log.Info("made the first administrator's token", "file", first.Path)
	case first.Path != "" && !first.Good:
		log.Warn("the administrator's token in the state directory was revoked: remove the file, or make another token by 'workspace-server token create'", "file", first.Path)
	}
	return nil
}

// ageLabels is no part of the start, which nobody is to wait longer for. Until it
// is done, what a server of before has labelled is not found by its labels.
func ageLabels(ctx context.Context, s *store.Store, log *slog.Logger) {
	if err := s.AgeLabels(ctx); err != nil && ctx.Err() == nil {
		log.Error("labels of a server of before are not found; restart the server to try again", "error", err)
	}
}

// openDatabase returns a database that answers and has the schema of this binary.
func openDatabase(ctx context.Context, cfg config.Config, log *slog.Logger) (*store.DB, error) {
	db, err := store.Open(ctx, cfg.DatabaseURL, cfg.StateDirectory, log)
	if err != nil {
		return nil, err
	}
	applied, err := migrate.Run(ctx, db, migrations.Files)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, name := range applied {
		log.Info("applied a migration", "name", name)
	}
	return db, nil
}

func logger(cfg config.Config, s streams) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if !cfg.Readable() {
		return slog.New(slog.NewJSONHandler(s.err, opts))
	}
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().Format("15:04:05.000"))
		}
		return a
	}
	return slog.New(slog.NewTextHandler(s.err, opts))
}
