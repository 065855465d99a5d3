package main

import (
	"context"
	"log/slog"

	"workspace-server/internal/agent"
)

// exitUnwanted is the exit code of an agent that must not start again.
const exitUnwanted = 3

// runAgent runs the reference agent of a workspace, without a server's settings.
func runAgent(ctx context.Context, args []string, getenv func(string) string, s streams) error {
	if err := noMore("agent", args); err != nil {
		return err
	}
	return agent.Run(ctx, getenv, slog.New(slog.NewTextHandler(s.err, nil)))
}
