// Package reload tests the reload loop from outside: what a developer types,
// edits and sees, with real tools, in containers and without.
package reload

import (
	"context"
	"flag"
	"testing"
	"time"

	"e2e/harness/janitor"
)

var edits = flag.Int("edits", 50, "how many edits are made under load")

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }
