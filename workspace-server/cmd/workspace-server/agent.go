package main

import (
	"context"
	"log/slog"

	"workspace-server/internal/agent"
)

// exitUnwanted is how an agent ends that is not to be started again.
const exitUnwanted = 3

// runAgent is what runs inside a workspace. It has none of a server's settings.
func runAgent(ctx context.Context, args []string, getenv func(string) string, s streams) error {
	if err := noMore("agent", args); err != nil {
		return err
	}
	return agent.Run(ctx, getenv, slog.New(slog.NewTextHandler(s.err, nil)))
}
