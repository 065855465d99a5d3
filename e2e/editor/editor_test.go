// Package editor tests what editors read: the dev container's definition, launch
// configurations, tasks and settings, against the files and commands they name.
package editor

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tailscale/hujson"
	"go.yaml.in/yaml/v3"

	"e2e/harness/checkout"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// decode reads a file of JSON with comments into v.
func decode(t *testing.T, name string, v any) {
	t.Helper()
	b, err := hujson.Standardize([]byte(read(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// A devcontainer is what is checked of devcontainer.json.
type devcontainer struct {
	DockerComposeFile   []string
	Service             string
	WorkspaceFolder     string
	RemoteUser          string
	UpdateRemoteUserUID *bool
	OverrideCommand     *bool
	ShutdownAction      string
	InitializeCommand   string
	PortsAttributes     map[string]struct{ Label, OnAutoForward string }
	HostRequirements    struct{ CPUs int }
	Customizations      struct {
		VSCode struct {
			Extensions []string
			Settings   map[string]any
		}
	}
}

const devcontainerFile = ".devcontainer/devcontainer.json"

func readDevcontainer(t *testing.T) (typed devcontainer, raw map[string]any) {
	t.Helper()
	decode(t, devcontainerFile, &typed)
	decode(t, devcontainerFile, &raw)
	return typed, raw
}

// composeService is the platform in the compose file of development.
func composeService(t *testing.T) (s struct {
	User    string
	Volumes []string
	Ports   []string
},
) {
	t.Helper()
	var dev struct{ Services map[string]yaml.Node }
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.dev.yml")), &dev); err != nil {
		t.Fatal(err)
	}
	platform := dev.Services["platform"]
	if err := platform.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOneContainer: the definition opens what "make dev" runs, and adds nothing.
func TestOneContainer(t *testing.T) {
	c, raw := readDevcontainer(t)
	// Any of these would make the editor's container, or image, another one.
	for _, key := range []string{
		"features", "containerEnv", "containerUser", "mounts", "capAdd", "securityOpt", "privileged", "init",
		"build", "image", "dockerFile", "runArgs", "workspaceMount", "appPort", "forwardPorts",
	} {
		if v, ok := raw[key]; ok {
			t.Errorf("%s is %v, want it in the compose files alone", key, v)
		}
	}
	for key, want := range map[string]any{"updateRemoteUserUID": false, "overrideCommand": false, "shutdownAction": "none"} {
		if raw[key] != want {
			t.Errorf("%s is %v, want %v", key, raw[key], want)
		}
	}

	// The same files that make uses, and one that keeps an editor from building.
	m := regexp.MustCompile(`(?m)^dev_exec\(\) \{\n\t.* set -- -f "\$own" "\$@"\n\texec docker compose(.*) "\$@"\n\}$`).FindStringSubmatch(read(t, "scripts/common"))
	developer := regexp.MustCompile(`(?m)^own=(\S+)$`).FindStringSubmatch(read(t, "scripts/common"))
	if m == nil || developer == nil {
		t.Fatal("scripts/common has no function dev_exec that calls docker compose, with the developer's own file")
	}
	m[1] += " -f " + developer[1]
	var want []string
	for file := range strings.SplitSeq(strings.TrimSpace(m[1]), "-f ") {
		if file = strings.TrimSpace(file); file != "" {
			want = append(want, file)
		}
	}
	var got []string
	for _, file := range c.DockerComposeFile {
		got = append(got, filepath.Join(".devcontainer", file))
	}
	const own = ".devcontainer/docker-compose.yml"
	if !slices.Equal(got, append(want, own)) {
		t.Errorf("dockerComposeFile: %q, want those of make, %q, and %s", got, want, own)
	}
	var node struct {
		Services map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal([]byte(read(t, own)), &node); err != nil {
		t.Fatal(err)
	}
	build := node.Services[c.Service]["build"]
	if len(node.Services) != 1 || len(node.Services[c.Service]) != 1 || build.Tag != "!reset" {
		t.Errorf("%s is %v, want nothing but the build of %s reset", own, node.Services, c.Service)
	}

	s := composeService(t)
	if c.RemoteUser != s.User || s.User == "" || s.User == "root" {
		t.Errorf("remoteUser is %q, want the compose file's %q, and not root", c.RemoteUser, s.User)
	}
	if !slices.Contains(s.Volumes, ".:"+c.WorkspaceFolder) {
		t.Errorf("workspaceFolder is %s, want where the repository is mounted: %q", c.WorkspaceFolder, s.Volumes)
	}
	if dockerfile := read(t, "workspace-server/Dockerfile.dev"); !strings.Contains(dockerfile, "useradd") || !strings.Contains(dockerfile, " "+c.RemoteUser+" ") {
		t.Errorf("Dockerfile.dev does not make the user %s", c.RemoteUser)
	}
}

// TestPublishedPorts: every port that the container publishes has a label, and the
// debugger's is never forwarded automatically.
func TestPublishedPorts(t *testing.T) {
	c, raw := readDevcontainer(t)
	for _, port := range composeService(t).Ports {
		target := port[strings.LastIndexByte(port, ':')+1:]
		if c.PortsAttributes[target].Label == "" {
			t.Errorf("%s is published and has no label in portsAttributes", port)
		}
	}
	for port, want := range map[string]string{"8080": "silent", "2345": "ignore"} {
		if got := c.PortsAttributes[port]; got.OnAutoForward != want {
			t.Errorf("portsAttributes: %s is %+v, want onAutoForward %s", port, got, want)
		}
	}
	other, _ := raw["otherPortsAttributes"].(map[string]any)
	if other["onAutoForward"] != "ignore" {
		t.Errorf("otherPortsAttributes is %v, want other ports left alone", other)
	}
	if c.HostRequirements.CPUs < 2 {
		t.Errorf("hostRequirements: %d CPUs, want more than a codespace's default", c.HostRequirements.CPUs)
	}
}

// TestLifecycle: the commands are scripts that are there, and a prebuild, which
// has no user's secrets, runs all that fills caches.
func TestLifecycle(t *testing.T) {
	_, raw := readDevcontainer(t)
	for _, key := range []string{"onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand", "postAttachCommand"} {
		command, ok := raw[key]
		if !ok {
			continue
		}
		path, ok := command.(string)
		if !ok || !executable(filepath.Join(root(t), path)) {
			t.Errorf("%s is %v, want one executable script", key, command)
		}
		if key != "onCreateCommand" && key != "updateContentCommand" {
			t.Errorf("%s: a prebuild does not run it", key)
		}
	}
	if raw["updateContentCommand"] == nil || raw["waitFor"] != "onCreateCommand" {
		t.Errorf("updateContentCommand is %v and waitFor %v, want caches filled while no one waits", raw["updateContentCommand"], raw["waitFor"])
	}
}

// TestInitialize: on the host a shell runs the script, and cmd.exe, which knows
// neither, tells what Windows needs.
func TestInitialize(t *testing.T) {
	c, _ := readDevcontainer(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`^sh (scripts/\S+) \|\| `).FindStringSubmatch(c.InitializeCommand)
	if m == nil || !executable(filepath.Join(root(t), m[1])) {
		t.Fatalf("initializeCommand is %q, want a script that is there first", c.InitializeCommand)
	}
	for _, tt := range []struct {
		script, want string
		code         int
	}{
		{"echo made", "made\n", 0},
		{"echo no engine; exit 1", "no engine\nOn Windows, clone and open this repository inside of WSL2.\n", 1},
	} {
		if err := os.WriteFile(filepath.Join(dir, m[1]), []byte(tt.script), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", c.InitializeCommand)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if string(out) != tt.want || cmd.ProcessState.ExitCode() != tt.code {
			t.Errorf("with a script that does %q: exit code %d, %v, printed %q; want %d, %q", tt.script, cmd.ProcessState.ExitCode(), err, out, tt.code, tt.want)
		}
	}
	// The words of both shells.
	if odd := regexp.MustCompile("['\"`$%^;<>]|[^&]&[^&]").FindString(c.InitializeCommand); odd != "" {
		t.Errorf("initializeCommand %q has %q, which a POSIX shell and cmd.exe read differently", c.InitializeCommand, odd)
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func TestExtensionsAgree(t *testing.T) {
	c, _ := readDevcontainer(t)
	var recommended struct{ Recommendations []string }
	decode(t, ".vscode/extensions.json", &recommended)
	// It opens the container, from outside.
	const outside = "ms-vscode-remote.remote-containers"
	want := append(slices.Clone(c.Customizations.VSCode.Extensions), outside)
	slices.Sort(want)
	got := slices.Sorted(slices.Values(recommended.Recommendations))
	if !slices.Equal(got, want) {
		t.Errorf("extensions.json recommends %q, want those of devcontainer.json and %s: %q", got, outside, want)
	}
	if !slices.Contains(got, "golang.go") {
		t.Errorf("extensions.json recommends %q, want golang.go among them", got)
	}
}

func TestSettingsAgree(t *testing.T) {
	c, _ := readDevcontainer(t)
	var settings map[string]any
	decode(t, ".vscode/settings.json", &settings)
	for _, name := range slices.Sorted(maps.Keys(c.Customizations.VSCode.Settings)) {
		if name == "gopls" {
			continue // only in the container the loop builds with tags; VS Code merges the two
		}
		if got, want := settings[name], c.Customizations.VSCode.Settings[name]; got != want {
			t.Errorf("settings.json: %s is %v, want %v as in devcontainer.json", name, got, want)
		}
	}
	var dev struct {
		Services struct {
			Platform struct{ Environment map[string]string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.dev.yml")), &dev); err != nil {
		t.Fatal(err)
	}
	inside, _ := c.Customizations.VSCode.Settings["gopls"].(map[string]any)
	if got, want := fmt.Sprint(inside["build.buildFlags"]), "["+dev.Services.Platform.Environment["BUILD_TAGS"]+"]"; got != want {
		t.Errorf("devcontainer.json: gopls builds with %s, want %s as the loop does in the container", got, want)
	}
	// What makes the Go extension ask or install.
	for name, want := range map[string]any{"go.toolsManagement.checkForUpdates": "off", "go.toolsManagement.autoUpdate": false, "go.survey.prompt": false, "go.showWelcome": false} {
		if got := c.Customizations.VSCode.Settings[name]; got != want {
			t.Errorf("devcontainer.json: %s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"go.lintTool", "go.formatTool", "go.alternateTools", "go.toolsEnvVars"} {
		if got, ok := settings[name]; ok {
			t.Errorf("settings.json: %s is %v, want it unset, so nothing else is installed", name, got)
		}
	}
	gopls, _ := settings["gopls"].(map[string]any)
	if gopls["formatting.gofumpt"] != true {
		t.Errorf("settings.json: gopls is %v, want formatting.gofumpt, which make check asks for", gopls)
	}
	filters, _ := gopls["build.directoryFilters"].([]any)
	for _, dir := range []string{"-**/node_modules", "-**/tmp"} {
		if !slices.Contains(filters, any(dir)) {
			t.Errorf("settings.json: build.directoryFilters is %v, want %s among them", filters, dir)
		}
	}
}
