package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"workspace-server/internal/bootstrap"
	"workspace-server/internal/catalog"
	"workspace-server/internal/config"
	"workspace-server/internal/events"
	"workspace-server/internal/migrate"
	"workspace-server/internal/secret"
	"workspace-server/internal/store"
	"workspace-server/internal/sweep"
	"workspace-server/migrations"
)

// A stopList holds how to stop what was started, in the order of the starts.
type stopList []func() error

func (l *stopList) add(stop func() error) { *l = append(*l, stop) }

// stop stops everything, what was started last first, and returns all errors.
func (l stopList) stop() error {
	var errs []error
	for i := len(l) - 1; i >= 0; i-- {
		errs = append(errs, l[i]())
	}
	return errors.Join(errs...)
}

// background starts each function in a goroutine. The function that it returns
// cancels their context and waits for them.
func background(ctx context.Context, each ...func(context.Context)) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, run := range each {
		wg.Go(func() { run(ctx) })
	}
	return func() error {
		cancel()
		wg.Wait()
		return nil
	}
}

// openCatalogs returns the templates and the plugins. A directory that cannot be
// read may come later, so it is no reason not to start.
func openCatalogs(cfg config.Config, log *slog.Logger) (catalog.Templates, catalog.Plugins) {
	templates, plugins := catalog.NewTemplates(cfg.TemplatesDir), catalog.NewPlugins(cfg.PluginsDir)
	if err := templates.Check(); err != nil {
		log.Warn("there are no templates", "error", err)
	}
	if err := plugins.Check(); err != nil {
		log.Warn("there are no plugins", "error", err)
	}
	return templates, plugins
}

// openDatabase returns a database that answers and has this program's schema.
func openDatabase(ctx context.Context, cfg config.Config, log *slog.Logger) (*store.DB, error) {
	database, err := store.Open(ctx, cfg.DatabaseURL, cfg.StateDirectory, log)
	if err != nil {
		return nil, err
	}
	applied, err := migrate.Run(ctx, database, migrations.Files)
	if err != nil {
		return nil, errors.Join(err, database.Close())
	}
	for _, name := range applied {
		log.Info("applied a migration", "name", name)
	}
	return database, nil
}

// ensureAdmin ensures that someone can use the server. In development it makes
// the token's file whatever tokens there are: the database may be older than the
// state directory, and a developer has no other way in.
func ensureAdmin(ctx context.Context, cfg config.Config, storage *store.Store, log *slog.Logger) error {
	first, err := bootstrap.Admin(ctx, cfg.StateDirectory, cfg.Env == config.Development, storage)
	switch {
	case err != nil:
		return err
	case first.Made:
		log.Info("made the first administrator's token", "file", first.Path)
	case first.Path != "" && !first.Good:
		log.Warn("the administrator's token in the state directory was revoked: remove the file, or make another token with 'workspace-server token create'", "file", first.Path)
	}
	return nil
}

// openVault returns the vault of the secrets, whose keys are those of the database.
func openVault(ctx context.Context, cfg config.Config, storage *store.Store, log *slog.Logger) (*secret.Vault, error) {
	vault := secret.NewVault(cfg.StateDirectory, storage)
	claimed, err := vault.Claim(ctx)
	if err != nil {
		return nil, err
	}
	if claimed.Made {
		log.Info("made the key that seals the secrets; keep a copy of the file", "file", claimed.Path)
	}
	if claimed.Lost > 0 {
		log.Warn("no key of this server opens some of the secrets: set those again that agents lack", "secrets", claimed.Lost)
	}
	return vault, nil
}

// startPolling learns what other servers write. It outlives ctx, since streams
// go on while the server drains.
func startPolling(ctx context.Context, database *store.DB, storage *store.Store, feed *events.Feed, log *slog.Logger) (stop func() error) {
	return background(
		context.WithoutCancel(ctx),
		func(ctx context.Context) { ageLabels(ctx, storage, log) },
		func(ctx context.Context) { feed.Run(ctx, storage.LastEvent) },
		func(ctx context.Context) { database.Listen(ctx, log, feed.Hint) },
	)
}

// ageLabels takes no part in the start, which must not wait for it. Until it is
// done, labels that a previous version wrote are not found.
func ageLabels(ctx context.Context, storage *store.Store, log *slog.Logger) {
	if err := storage.AgeLabels(ctx); err != nil && ctx.Err() == nil {
		log.Error("labels that a previous version wrote are not found; restart the server to try again", "error", err)
	}
}

// startSweeps removes what is older than the settings keep it. It outlives ctx as
// polling does.
func startSweeps(ctx context.Context, cfg config.Config, storage *store.Store, log *slog.Logger) (stop func() error) {
	var runs []func(context.Context)
	for _, s := range []*sweep.Sweeper{
		{What: "events", Remove: storage.RemoveEvents},
		{What: "transitions", Remove: storage.RemoveTransitions},
		{What: "tokens of removed workspaces", Remove: storage.ForgetTokens},
	} {
		s.Keep, s.Log = cfg.EventRetention, log
		runs = append(runs, s.Run)
	}
	return background(context.WithoutCancel(ctx), runs...)
}
