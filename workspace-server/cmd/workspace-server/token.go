package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"workspace-server/internal/config"
	"workspace-server/internal/store"
	"workspace-server/internal/token"
)

// createToken makes a token without a server. Whoever can write to the database
// needs no other permission.
func createToken(ctx context.Context, cfg config.Config, args []string, _ func(string) string, s streams) (err error) {
	var spec token.Spec
	flags := flag.NewFlagSet("token create", flag.ContinueOnError)
	flags.SetOutput(s.err)
	flags.StringVar(&spec.Name, "name", "", "what the token is for, shown in lists")
	flags.StringVar((*string)(&spec.Role), "role", string(token.Admin), "admin, or workspace")
	flags.StringVar(&spec.Workspace, "workspace", "", "with -role workspace: the workspace's id")
	flags.DurationVar(&spec.Lifetime, "expires", 0, "how long the token is valid, such as 720h; 0 is for ever")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return errors.New("workspace-server token create -h lists the flags") // flag has printed what is wrong
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: workspace-server token create -h lists the flags", flags.Arg(0))
	}
	secret := token.NewSecret()
	t, err := token.New(spec, secret, time.Now())
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, logger(cfg, s))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := store.New(db, func(int64) {}).CreateToken(ctx, t, secret.Hash()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, secret)
	return err
}
