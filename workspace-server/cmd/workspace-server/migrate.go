package main

import (
	"context"

	"workspace-server/internal/config"
)

// migrateOnly migrates the database, as serve does first.
func migrateOnly(ctx context.Context, cfg config.Config, _ []string, _ func(string) string, s streams) error {
	log := logger(cfg, s)
	database, err := openDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	log.Info("the schema is up to date", "database", database.Driver())
	return database.Close()
}
