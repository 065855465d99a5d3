//go:build unix

package reconcile

import (
	"fmt"
	"os"
	"testing"

	"workspace-server/internal/provision/process"
	"workspace-server/internal/testkit"
)

// TestMain also runs as a server that is killed, and as the programs that servers
// start.
func TestMain(m *testing.M) {
	verbs := map[string]func(args []string) error{"doomed": doomed, "keeper": process.RunKeeper, "agent": agent}
	if len(os.Args) > 1 && verbs[os.Args[1]] != nil {
		if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		// With the race detector it lingers for a second, in which no one should wait
		// for its output.
		_ = os.Stdout.Close()
		os.Exit(0)
	}
	testkit.Main(m)
}
