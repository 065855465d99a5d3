// Package reload tests the loop from outside: what a developer types, edits,
// debugs and sees, with the real tools, in containers and without.
package reload

import (
	"context"
	"flag"
	"testing"
	"time"

	"e2e/harness/janitor"
)

var (
	edits      = flag.Int("edits", 50, "how many edits are made under load")
	debugEdits = flag.Int("debug-edits", 20, "how many edits are made in one debug session, under load")
	sessions   = flag.Int("sessions", 100, "how often an editor attaches and detaches")
)

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }
