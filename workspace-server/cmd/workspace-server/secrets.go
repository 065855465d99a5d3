package main

import (
	"context"
	"errors"
	"fmt"

	"workspace-server/internal/config"
	"workspace-server/internal/secret"
	"workspace-server/internal/store"
)

// rotateSecrets seals all secrets with a new key. Servers may run meanwhile.
func rotateSecrets(ctx context.Context, cfg config.Config, _ []string, _ func(string) string, s streams) (err error) {
	db, err := openDatabase(ctx, cfg, logger(cfg, s))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	n, err := secret.NewVault(cfg.StateDirectory, store.New(db, func(int64) {})).Rotate(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "sealed %d secrets with a new key\n", n)
	return err
}
