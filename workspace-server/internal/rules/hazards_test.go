package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestHazards lists what goes wrong in servers of this kind, each with the tests
// that would notice, or with the reason why it cannot happen here.
func TestHazards(t *testing.T) {
	hazards := []struct {
		hazard  string
		tests   string // as "directory TestName TestName, directory TestName"
		instead string
	}{
		{"a state in code that the schema refuses", "internal/store TestEveryStateIsStored", ""},
		{"idleness measured by heartbeats, so that a live idle agent never hibernates", "internal/store TestIdle TestActivity", ""},
		{"a wake that skips hibernated workspaces", "internal/api TestMessagesWake, internal/workspace TestAsk", ""},
		{"a pause that a health sweep revives", "internal/reconcile TestStrays TestStepIsGivenUp, internal/workspace TestObserve", ""},
		{"a late registration that revives a paused or removed workspace", "internal/store TestLateAgents TestRegisterRacesPause TestTokensOfRemovedWorkspaces, internal/api TestAgents, internal/outfit TestOutfit", ""},
		{"a start that is stranded by the server's end", "internal/reconcile TestTakeOver TestReadyBeforeRecorded", ""},
		{"an end that is missed while the server restarts", "internal/reconcile TestCrashIsNoticed TestTakeOver", ""},
		{"cycles of parents", "internal/store TestMovesAtOnceMakeNoCycle TestMovesAtOnceStayWithinDepth, internal/workspace TestCheckParent", ""},
		{"a patch that is applied in part, and answered 200", "internal/store TestUpdate TestUpdatesAtOnce, internal/api TestPatchRefusals", ""},
		{"a daemon that does not answer, taken for dead workspaces", "internal/reconcile TestHiccup TestSilentAgent, internal/provision/docker TestAnEngineThatMisbehavesIsNotAnAbsentInstance", ""},
		{"a panic that ends a loop; a stream that costs the whole drain", "internal/reconcile TestPanic, internal/api TestStreamCutsOffWhoDoesNotRead, cmd/workspace-server TestStopWithStreamsOpen", ""},
		{"two installations on one engine that reap each other's containers", "internal/provision/docker TestOnAnEngine TestNames, internal/provision/process TestConformance", ""},
		{"a template with CRLF that fails the copy", "internal/files TestSeed, internal/outfit TestOutfit", ""},
		{"files and token that come after the agent's start", "", "Outfit returns before Start is called, and the files are mounted, not copied"},
		{"agents on the database's network", "internal/provision/docker TestOnAnEngine TestSettings", ""},
		{"a denylist of host directories with holes", "", "no one can name a host directory: what is mounted is chosen by the server alone"},
		{"bind paths that the engine's host resolves", "internal/provision/docker TestPlan TestWhatCannotBePlanned", ""},
		{"open in development", "internal/api TestAccess", ""},
		{"a workspace's token that changes its tier, or its place", "internal/api TestOwnTokenKeepsItsPlace TestPatchRefusals", ""},
		{"a header that is missing, taken for the UI", "internal/api TestAccess", ""},
		{"an event stream without a token", "internal/api TestAccess TestStreamEndsWithItsToken", ""},
		{"a registration that makes a workspace", "internal/store TestRegister, internal/api TestAgents", ""},
		{"the administrator's token in a browser's bundle", "", "there is no browser client, and no page that is served holds a token"},
		{"prod and production", "internal/config TestLoadRefuses", ""},
		{"any workspace's token taken for the administrator's", "internal/api TestAccess, internal/token TestMay", ""},
		{"migrations that run backwards, unlocked, or apart from their record", "internal/migrate TestRun TestRunAtOnce TestRowsOfBefore", ""},
		{"a callee that calls back before its credential is stored", "internal/outfit TestOutfit", ""},
		{"a URL that is checked first and dialled differently", "internal/a2a TestForbiddenURLs TestRedirects TestNames TestConnection", ""},
		{"paths that leave their directory", "internal/files TestPathsStayInside TestSwappedLinks, internal/api TestFilePaths, internal/catalog TestPluginsOnDisk TestTemplatesOnDisk", ""},
		{"an engine's errors shown to clients", "internal/reconcile TestBrokenStart, internal/provision/docker TestAnEngineThatFailsHalfway", ""},
	}
	if len(hazards) != 30 {
		t.Errorf("there are %d hazards, want 30", len(hazards))
	}
	for _, h := range hazards {
		if (h.tests == "") == (h.instead == "") {
			t.Errorf("%s: want either tests or a reason", h.hazard)
		}
		for named := range strings.SplitSeq(h.tests, ", ") {
			fields := strings.Fields(named)
			if len(fields) == 0 {
				continue
			}
			there := testsIn(t, fields[0])
			for _, name := range fields[1:] {
				if !there[name] {
					t.Errorf("%s: there is no test %s in %s", h.hazard, name, fields[0])
				}
			}
			if len(fields) < 2 {
				t.Errorf("%s: %q names no test", h.hazard, named)
			}
		}
	}
}

// testsIn returns the names of the tests in a directory of the module.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	pattern := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range pattern.FindAllSubmatch(text, -1) {
			names[string(found[1])] = true
		}
	}
	return names
}
