package main

import (
	"context"
	"errors"
	"os"

	"workspace-server/internal/agent"
	"workspace-server/internal/cli"
)

// workspaces runs the commands for people who use a server. It needs none of a
// server's settings.
func workspaces(ctx context.Context, args []string, getenv func(string) string, s streams) error {
	return cli.Run(ctx, args, cli.Terminal{Getenv: getenv, In: os.Stdin, Out: s.out, Err: s.err})
}

// exitCode returns 1, or the error's own exit code.
func exitCode(err error) int {
	if e, ok := errors.AsType[*cli.Error](err); ok {
		return e.Code
	}
	if _, ok := errors.AsType[agent.Unwanted](err); ok {
		return exitUnwanted
	}
	return 1
}
