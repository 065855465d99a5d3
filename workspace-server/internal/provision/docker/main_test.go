package docker

import (
	"flag"
	"testing"

	"workspace-server/internal/testkit"
)

// TestMain runs more tests at once than there are processors, unless the command
// says how many: they wait for the engine.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	testkit.Main(m)
}
