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
func rotateSecrets(ctx context.Context, cfg config.Config, _ []string, _ func(string) string, s streams) error {
	return withVault(ctx, cfg, s, func(v *secret.Vault) error {
		n, err := v.Rotate(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "sealed %d secrets with a new key\n", n)
		return err
	})
}

// adoptKey makes the key of the state directory the database's.
func adoptKey(ctx context.Context, cfg config.Config, _ []string, _ func(string) string, s streams) error {
	return withVault(ctx, cfg, s, func(v *secret.Vault) error {
		adopted, err := v.Adopt(ctx)
		if err != nil {
			return err
		}
		opens := "all secrets"
		if adopted.Lost > 0 {
			opens = fmt.Sprintf("none of %d secrets, which must be set again", adopted.Lost)
		}
		_, err = fmt.Fprintf(s.out, "the key in %s is the database's now; it opens %s\n", adopted.Path, opens)
		return err
	})
}

func withVault(ctx context.Context, cfg config.Config, s streams, do func(*secret.Vault) error) (err error) {
	db, err := openDatabase(ctx, cfg, logger(cfg, s))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(secret.NewVault(cfg.StateDirectory, store.New(db, func(int64) {})))
}
