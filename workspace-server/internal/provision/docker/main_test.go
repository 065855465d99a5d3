package docker

import (
	"testing"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
