package docker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

func TestPlan(t *testing.T) {
	onHost := Settings{Installation: "home", Image: "example/agent:1", Network: "agents"}
	inContainer := onHost
	inContainer.StateVolume, inContainer.StateRoot = "project_state", "/var/lib/workspace-server"
	tests := []struct {
		file     string
		settings Settings
		spec     provision.Spec
	}{
		{"bind.json", onHost, provision.Spec{
			Workspace: "ws_a1", Generation: 7, Tier: 2,
			Env:     map[string]string{"WORKSPACE_ID": "ws_a1", "PLATFORM_URL": "http://host.docker.internal:8080", "AGENT_LISTEN": "127.0.0.1:1"},
			Configs: "/srv/state/configs/../configs/ws_a1/",
			Plugins: map[string]string{"tools": "/srv/plugins/tools", "docs": "/srv/plugins/docs"},
		}},
		{"volume.json", inContainer, provision.Spec{
			Workspace: "ws_b2", Generation: 1, Tier: 4,
			Configs: "/var/lib/workspace-server/configs/ws_b2",
			Plugins: map[string]string{"docs": "/var/lib/workspace-server/plugins/docs"},
		}},
	}
	for _, tt := range tests {
		plan, err := makePlan(tt.settings, tt.spec, time.UnixMilli(1767225600123))
		if err != nil {
			t.Errorf("%s: makePlan: %v", tt.file, err)
			continue
		}
		got, err := json.MarshalIndent(plan, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != strings.TrimSpace(string(want)) {
			t.Errorf("makePlan(%+v) =\n%s\nwant what is in testdata/%s", tt.spec, got, tt.file)
		}
	}
}

func TestTiers(t *testing.T) {
	tests := []struct {
		tier              int
		memory, cpu, pids int64 // bytes, microseconds in 100 ms, a number
	}{
		{1, 536870912, 50000, 256},
		{2, 1073741824, 100000, 512},
		{3, 2147483648, 200000, 1024},
		{4, 4294967296, 400000, 2048},
	}
	for _, tt := range tests {
		plan, err := makePlan(Settings{Installation: "home"}, provision.Spec{Workspace: "w", Tier: tt.tier, Configs: "/c"}, time.Now())
		if err != nil {
			t.Errorf("tier %d: %v", tt.tier, err)
			continue
		}
		got := plan.Request.HostConfig
		if got.Memory != tt.memory || got.MemorySwap != tt.memory || got.CPUQuota != tt.cpu || got.CPUPeriod != 100000 || got.PidsLimit != tt.pids {
			t.Errorf("tier %d: memory %d, swap %d, quota %d of %d, pids %d; want %d, the same, %d of 100000, %d",
				tt.tier, got.Memory, got.MemorySwap, got.CPUQuota, got.CPUPeriod, got.PidsLimit, tt.memory, tt.cpu, tt.pids)
		}
	}
}

func TestWhatCannotBePlanned(t *testing.T) {
	inContainer := Settings{Installation: "home", StateVolume: "state", StateRoot: "/state"}
	tests := []struct {
		name     string
		settings Settings
		change   func(*provision.Spec)
		want     string
	}{
		{"no workspace", Settings{}, func(s *provision.Spec) { s.Workspace = "" }, `A workspace cannot have the id "".`},
		{"path as workspace", Settings{}, func(s *provision.Spec) { s.Workspace = "../json" }, `A workspace cannot have the id "../json".`},
		{"dot in workspace", Settings{}, func(s *provision.Spec) { s.Workspace = "a.b" }, `A workspace cannot have the id "a.b".`},
		{"long workspace", Settings{}, func(s *provision.Spec) { s.Workspace = strings.Repeat("a", 101) }, "A workspace cannot have the id"},
		{"tier 0", Settings{}, func(s *provision.Spec) { s.Tier = 0 }, "The tier 0 does not exist."},
		{"tier 5", Settings{}, func(s *provision.Spec) { s.Tier = 5 }, "The tier 5 does not exist."},
		{"variable without a name", Settings{}, func(s *provision.Spec) { s.Env = map[string]string{"": "x"} }, `A variable cannot have the name "".`},
		{"variable with =", Settings{}, func(s *provision.Spec) { s.Env = map[string]string{"AGENT_LISTEN=:1": "x"} }, `A variable cannot have the name "AGENT_LISTEN=:1".`},
		{"variable with NUL", Settings{}, func(s *provision.Spec) { s.Env = map[string]string{"A": "hunter2\x00"} }, `The variable "A" holds a NUL byte`},
		{"no configs", Settings{}, func(s *provision.Spec) { s.Configs = "" }, `"" for /configs is not an absolute path`},
		{"relative configs", Settings{}, func(s *provision.Spec) { s.Configs = "configs" }, `"configs" for /configs is not an absolute path`},
		{"relative plugin", Settings{}, func(s *provision.Spec) { s.Plugins = map[string]string{"p": "p"} }, `"p" for /plugins/p is not an absolute path`},
		{"path as plugin", Settings{}, func(s *provision.Spec) { s.Plugins = map[string]string{"../tmp": "/p"} }, `A plugin cannot have the name "../tmp".`},
		{"parent as plugin", Settings{}, func(s *provision.Spec) { s.Plugins = map[string]string{"..": "/p"} }, `A plugin cannot have the name "..".`},
		{"outside the volume", inContainer, func(s *provision.Spec) { s.Configs = "/etc" }, "/etc for /configs is not below /state"},
		{"out of the volume", inContainer, func(s *provision.Spec) { s.Configs = "/state/../etc" }, "/etc for /configs is not below /state"},
		{"beside the volume", inContainer, func(s *provision.Spec) { s.Configs = "/statement" }, "/statement for /configs is not below /state"},
		{"all of the volume", inContainer, func(s *provision.Spec) { s.Configs = "/state/" }, "/state for /configs is not below /state"},
		{"plugin outside the volume", inContainer, func(s *provision.Spec) { s.Plugins = map[string]string{"p": "/p"} }, "/p for /plugins/p is not below /state"},
	}
	for _, tt := range tests {
		spec := provision.Spec{Workspace: "w", Tier: 1, Configs: "/state/w"}
		tt.change(&spec)
		_, err := makePlan(tt.settings, spec, time.Now())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: makePlan = %v, want %q", tt.name, err, tt.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: makePlan = %v, which shows a value", tt.name, err)
		} else if got := workspace.Message(err); workspace.KindOf(err) == workspace.Internal || !isSentence(got) || strings.Contains(got, "/state") {
			t.Errorf("%s: the owner of the workspace reads %q, want a sentence that names no path of the server", tt.name, got)
		}
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		change func(*Settings)
		want   string
	}{
		{func(*Settings) {}, ""},
		{func(s *Settings) { s.Host = "unix:///run/docker.sock" }, ""},
		{func(s *Settings) { s.Host = "tcp://127.0.0.1:2375" }, ""},
		{func(s *Settings) { s.Host = "tcp://" }, `host "tcp://": use unix:///path or tcp://host:port`},
		{func(s *Settings) { s.Host = "ssh://host" }, `host "ssh://host": use unix:///path or tcp://host:port`},
		{func(s *Settings) { s.Host = "unix://docker.sock" }, `use unix:///path or tcp://host:port`},
		{func(s *Settings) { s.Host = "tcp://host:1/path" }, `use unix:///path or tcp://host:port`},
		{func(s *Settings) { s.Host = "/run/docker.sock" }, `use unix:///path or tcp://host:port`},
		{func(s *Settings) { s.Installation = "" }, `installation ""`},
		{func(s *Settings) { s.Installation = "a.b" }, `installation "a.b"`},
		{func(s *Settings) { s.Installation = "-a" }, `installation "-a"`},
		{func(s *Settings) { s.Image = "" }, "no image is given"},
		{func(s *Settings) { s.Network = "host" }, `network "host": name one that only agents use`},
		{func(s *Settings) { s.Network = "container:postgres" }, `"container:postgres" is not the name of a network`},
		{func(s *Settings) { s.StateVolume = "state" }, "go together"},
		{func(s *Settings) { s.StateRoot = "/state" }, "go together"},
		{func(s *Settings) { s.StateVolume, s.StateRoot = "state", "state" }, `"state" is not the absolute path of a directory`},
		{func(s *Settings) { s.StateVolume, s.StateRoot = "state", "/state" }, ""},
	}
	for _, tt := range tests {
		s := Settings{Installation: "home", Image: "agent"}
		tt.change(&s)
		_, err := New(s)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("New(%+v) = %v, want %q", s, err, tt.want)
		}
	}
}

// Different parts make different names.
func TestNames(t *testing.T) {
	if a, b := nameOf("a", "b-c"), nameOf("a-b", "c"); a == b {
		t.Errorf("a of b-c and a-b of c have the same name: %s", a)
	}
}
