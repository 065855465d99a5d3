package server

import (
	"log/slog"
	"testing"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
