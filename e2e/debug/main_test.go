// Package debug tests debugging across reloads from outside: with the real
// loop, as "make dev" and "make dev-host" start it, real dlv, and editors that
// follow a script.
package debug

import (
	"context"
	"flag"
	"testing"
	"time"

	"e2e/harness/janitor"
)

var (
	edits  = flag.Int("edits", 20, "how many edits are made in one session, under load")
	rounds = flag.Int("rounds", 100, "how often an editor attaches and detaches")
)

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }
