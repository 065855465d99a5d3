package static

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestDevImage: compose alone says what runs in the dev container, and all agree on
// where the sources are.
func TestDevImage(t *testing.T) {
	if got := matches(`(?m)^(CMD|ENTRYPOINT)\b`, code(t, "workspace-server/Dockerfile.dev")); len(got) > 0 {
		t.Errorf("Dockerfile.dev has %v, want that in docker-compose.dev.yml only", got)
	}
	for _, place := range []struct{ name, pattern string }{
		{"docker-compose.dev.yml", `- \.:(/\S+)`},
		{"docker-compose.dev.yml", `working_dir: (\S+)`},
		{"workspace-server/Dockerfile.dev", `WORKDIR (/w\S+)`},
		{".devcontainer/devcontainer.json", `"workspaceFolder": "(.*)"`},
		{".vscode/launch.json", `"to": "(.*)"`},
	} {
		if got := only(t, place.name, place.pattern); got != "/workspace" {
			t.Errorf("%s: the sources are at %s, want /workspace", place.name, got)
		}
	}
}

// TestState: the images make the directory that compose mounts a volume on, so
// the server's user owns it.
func TestState(t *testing.T) {
	want := only(t, "docker-compose.yml", `STATE_DIRECTORY: (\S+)`)
	for _, place := range []struct{ name, pattern string }{
		{"docker-compose.yml", `- state:(\S+)`},
		{"docker-compose.dev.yml", `- dev-state:(\S+)`},
		{"workspace-server/Dockerfile", `nonroot /out/state (\S+)`},
		{"workspace-server/Dockerfile.dev", `-m 0700 (\S+)`},
	} {
		if got := only(t, place.name, place.pattern); got != want {
			t.Errorf("%s: the state is in %s, want %s as docker-compose.yml says", place.name, got, want)
		}
	}
}

// TestPackagesOfE2E: the table says of each package what it needs.
func TestPackagesOfE2E(t *testing.T) {
	packages := map[string]bool{}
	for _, name := range files(t, "*_test.go") {
		if dir, ok := strings.CutPrefix(path.Dir(name), "e2e/"); ok {
			if strings.HasPrefix(dir, "harness/") {
				dir = "harness/…"
			}
			packages[dir] = true
		}
	}
	want := slices.Sorted(maps.Keys(packages))
	if got := matches("(?m)^\\| `(.+?)` \\|", read(t, "e2e/README.md")); !slices.Equal(got, want) {
		t.Errorf("the table of e2e/README.md names %v, want %v", got, want)
	}
}

// TestModules: what the scripts do in each Go module they do in all.
func TestModules(t *testing.T) {
	var want []string
	for _, name := range files(t, "go.mod") {
		if !strings.Contains(name, "testdata/") {
			want = append(want, path.Dir(name))
		}
	}
	slices.Sort(want)
	got := strings.Fields(only(t, "scripts/common", `(?m)^modules='(.*)'$`))
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("scripts/common names the modules %v, want %v", got, want)
	}
	for _, script := range []string{"scripts/check", "scripts/warm"} {
		if !strings.Contains(read(t, script), "for module in $modules; do") {
			t.Errorf("%s does not go through the modules of scripts/common", script)
		}
	}
}
