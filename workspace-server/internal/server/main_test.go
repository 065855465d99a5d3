package server

import (
	"log/slog"
	"testing"

	"workspace-server/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
