package docker

import (
	"testing"

	"workspace-server/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
