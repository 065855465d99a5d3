package forward_test

import (
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
