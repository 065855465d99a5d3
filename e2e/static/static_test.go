// Package static tests what the repository's files say about each other: ports,
// versions, names and commands that are written down in more than one place.
package static

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"e2e/harness/airtoml"
	"e2e/harness/checkout"
	"e2e/harness/postgres"
)

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files lists the repository's files that match a pattern of their base name.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "-C", root, "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if ok, _ := filepath.Match(pattern, filepath.Base(name)); !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// matches returns what a pattern's group matches in a text, sorted, once each.
func matches(pattern, text string) []string {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// only returns the one match of a pattern's group.
func only(t *testing.T, name, pattern string) string {
	t.Helper()
	found := matches(pattern, read(t, name))
	if len(found) != 1 {
		t.Fatalf("%s: %q matches %q, want one value", name, pattern, found)
	}
	return found[0]
}

// code returns a file without the lines that are comments.
func code(t *testing.T, name string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(read(t, name)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

var composeFiles = []string{"docker-compose.yml", "docker-compose.dev.yml"}

func TestMakefile(t *testing.T) {
	text := read(t, "Makefile")
	targets := matches(`(?m)^([a-z][a-z-]*):`, text)
	if n := len(targets); n == 0 || n > 15 {
		t.Errorf("the Makefile has %d targets, want 1 to 15: %v", n, targets)
	}
	if got := matches(`(?m)^([a-z][a-z-]*):.*## \S`, text); !slices.Equal(got, targets) {
		t.Errorf("targets with help: %v, want all: %v", got, targets)
	}
	phony := slices.Sorted(strings.FieldsSeq(strings.Join(matches(`(?m)^\.PHONY:(.*)$`, text), " ")))
	if !slices.Equal(phony, targets) {
		t.Errorf(".PHONY: %v, want all: %v", phony, targets)
	}
	if !strings.Contains(text, ".DEFAULT_GOAL := help\n") {
		t.Error("help is not the default")
	}
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	for recipe := range strings.Lines(text) {
		if !strings.HasPrefix(recipe, "\t") || strings.HasPrefix(recipe, "\t@awk ") {
			continue
		}
		script, ok := strings.CutPrefix(strings.TrimSuffix(strings.TrimSpace(recipe), " $(ARGS)"), "@")
		info, err := os.Stat(filepath.Join(root, script))
		if !ok || err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("recipe %q: want the call of one executable script", recipe)
		}
	}
	out, err := exec.Command("make", "-s", "-C", root).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		if !regexp.MustCompile(`(?m)^make ` + target + ` +\S`).Match(out) {
			t.Errorf("make prints\n%swithout help for %q", out, target)
		}
	}
}

// TestEnvStaysHere: neither git nor an image takes the file with the password.
func TestEnvStaysHere(t *testing.T) {
	if !strings.Contains("\n"+read(t, ".gitignore"), "\n.env\n") {
		t.Error(".env is not ignored by git")
	}
	if !strings.Contains(read(t, ".dockerignore"), "**/.env") {
		t.Error(".env is not kept out of the build contexts")
	}
}

// TestPorts: the port inside of the container is one, wherever it is written.
func TestPorts(t *testing.T) {
	port := only(t, "workspace-server/Dockerfile", `(?m)^EXPOSE (\d+)$`)
	tests := []struct{ name, pattern string }{
		{"workspace-server/Dockerfile", `LISTEN_ADDR=:(\d+)`},
		{"docker-compose.yml", `\$\{PLATFORM_PORT:-\d+\}:(\d+)`},
		{"docker-compose.agents.yml", `PLATFORM_URL:-http://platform:(\d+)`},
		{"docker-compose.dev.yml", `\$\{PLATFORM_PORT:-\d+\}:(\d+)`},
		{"docker-compose.dev.yml", `-listen\n\s+- :(\d+)`},
	}
	for _, tt := range tests {
		if got := only(t, tt.name, tt.pattern); got != port {
			t.Errorf("%s: port %s at %q, want %s as the production image exposes", tt.name, got, tt.pattern, port)
		}
	}
	debug := only(t, "docker-compose.dev.yml", `\$\{DEBUG_PORT:-\d+\}:(\d+)`)
	if got := only(t, "docker-compose.dev.yml", `-debug\n\s+- :(\d+)`); got != debug {
		t.Errorf("docker-compose.dev.yml: devloop has port %s for debuggers, want %s as is published", got, debug)
	}
	for name, in := range map[string][]string{"PLATFORM_PORT": composeFiles, "DEBUG_PORT": composeFiles[1:]} {
		first := only(t, "scripts/env", `add `+name+` port (\d+)`)
		for _, file := range in {
			if got := only(t, file, name+`:-(\d+)`); got != first {
				t.Errorf("%s: the default of %s is %s, want %s as in scripts/env", file, name, got, first)
			}
		}
	}
}

// service is what is checked of one in a compose file as it is written.
type service struct {
	Image         string
	ContainerName string `yaml:"container_name"`
	Ports         []string
	Volumes       []yaml.Node
}

func TestCompose(t *testing.T) {
	for _, name := range append(slices.Clone(composeFiles), "docker-compose.agents.yml") {
		text := read(t, name)
		var model struct {
			Name     string
			Services map[string]service
			Volumes  map[string]map[string]any
			Networks map[string]map[string]any
		}
		if err := yaml.Unmarshal([]byte(text), &model); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if model.Name != "" {
			t.Errorf("%s: a fixed name %q would make all checkouts one project", name, model.Name)
		}
		for volume, options := range model.Volumes {
			if options["external"] != nil || options["name"] != nil {
				t.Errorf("%s: volume %s = %v, want one of the project's own", name, volume, options)
			}
		}
		for service, s := range model.Services {
			if s.ContainerName != "" {
				t.Errorf("%s: %s has a fixed container name", name, service)
			}
			if image := regexp.MustCompile(`:[a-z0-9][a-z0-9.-]*$`); s.Image != "" && !strings.Contains(s.Image, "${") && (!image.MatchString(s.Image) || strings.HasSuffix(s.Image, ":latest")) {
				t.Errorf("%s: %s has image %q, want a tag that means something", name, service, s.Image)
			}
			seen := map[string]bool{}
			for _, port := range s.Ports {
				if !strings.HasPrefix(port, "127.0.0.1:") {
					t.Errorf("%s: %s publishes %q, want it on 127.0.0.1", name, service, port)
				}
				target := port[strings.LastIndexByte(port, ':')+1:]
				if seen[target] {
					t.Errorf("%s: %s publishes %s twice", name, service, target)
				}
				seen[target] = true
			}
		}
		if strings.Contains(text, "ports:") && name == "docker-compose.dev.yml" && !strings.Contains(text, "ports: !override") {
			t.Errorf("%s: ports are added to the production ones, want !override", name)
		}
	}
	if got := only(t, "docker-compose.yml", `image: (postgres:\S+)`); got != postgres.Image {
		t.Errorf("docker-compose.yml runs %s, and the tests run on %s", got, postgres.Image)
	}
	if got := files(t, "docker-compose.override.y*ml"); len(got) > 0 {
		t.Errorf("%v would be read by a plain docker compose up", got)
	}
}

// moduleOf returns the module that a package is of, as "path version".
func moduleOf(pkg string, modules []string) string {
	for _, module := range modules {
		if path, _, _ := strings.Cut(module, " "); pkg == path || strings.HasPrefix(pkg, path+"/") {
			return module
		}
	}
	return "no module of " + pkg
}

// TestVersions: every version is pinned, and in one place.
func TestVersions(t *testing.T) {
	moving := "@" + "latest"
	tools := matches(`(?m)^\s+(\S+/\S+)$`, read(t, "devloop/tools.mod"))
	if len(tools) < 3 {
		t.Fatalf("devloop/tools.mod names the tools %v, want air, dlv and gopls at least", tools)
	}
	pinned := matches(`(?m)^\s+(\S+ v\S+)`, read(t, "devloop/tools.mod"))
	for _, name := range files(t, "*") {
		if strings.HasPrefix(name, "e2e/") && strings.HasSuffix(name, "_test.go") {
			continue // they name what they forbid
		}
		text := []byte(read(t, name))
		if bytes.Contains(text, []byte(moving)) {
			t.Errorf("%s: %s", name, moving)
		}
		for _, tool := range tools {
			if strings.HasPrefix(name, "findings/") {
				// A finding holds for a version, and must be run again with a newer one.
				for _, version := range matches(regexp.QuoteMeta(tool)+`@([\w.+-]+)`, string(text)) {
					if module := moduleOf(tool, pinned); !strings.HasSuffix(module, " "+version) {
						t.Errorf("%s: runs %s in version %s, and devloop/tools.mod pins %s", name, tool, version, module)
					}
				}
				continue
			}
			if bytes.Contains(text, []byte(tool+"@")) {
				t.Errorf("%s: pins %s, which devloop/tools.mod does", name, tool)
			}
		}
	}
	for _, name := range files(t, "Dockerfile*") {
		if text := read(t, name); strings.Contains(text, "# syntax=") {
			t.Errorf("%s: a syntax line makes every build pull a frontend", name)
		}
	}
	// GOTOOLCHAIN=local: an image older than a go.mod cannot build it.
	base := only(t, "workspace-server/Dockerfile", `FROM (golang:\S+)`)
	if dev := only(t, "workspace-server/Dockerfile.dev", `FROM (golang:\S+)`); dev != base {
		t.Errorf("Dockerfile.dev starts from %s, want %s as production does", dev, base)
	}
	image := only(t, "workspace-server/Dockerfile", `FROM golang:1\.(\d+)-`)
	for _, name := range append(files(t, "go.mod"), "devloop/tools.mod") {
		if strings.Contains(name, "testdata/") {
			continue
		}
		if mod := only(t, name, `(?m)^go 1\.(\d+)`); mod > image {
			t.Errorf("%s needs Go 1.%s, and the images have 1.%s", name, mod, image)
		}
	}
	for _, name := range []string{"workspace-server/Dockerfile.dev", "scripts/common"} {
		if !strings.Contains(read(t, name), "tools.mod") {
			t.Errorf("%s does not install the tools from devloop/tools.mod", name)
		}
	}
}

// TestAir: the build command agrees with the other places that build.
func TestAir(t *testing.T) {
	text := read(t, "workspace-server/.air.toml")
	if !strings.HasPrefix(text, "#:schema https://json.schemastore.org/any.json\n") {
		t.Error(".air.toml does not begin with the schema that keeps editors from another tool's")
	}
	c, err := airtoml.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if c.Build.Delay != 1 {
		t.Errorf("delay = %d, want 1, the smallest that air allows", c.Build.Delay)
	}
	output, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"devloop", "run", output}; len(c.Build.Entrypoint) < 3 || !slices.Equal(c.Build.Entrypoint[:3], want) {
		t.Errorf("entrypoint = %q, want it to begin with %q", c.Build.Entrypoint, want)
	}
	for _, ext := range []string{"go", "mod", "sum"} {
		if !slices.Contains(c.Build.IncludeExt, ext) {
			t.Errorf("include_ext = %q, want %s among them", c.Build.IncludeExt, ext)
		}
	}
	if !slices.ContainsFunc(c.Build.ExcludeRegex, func(s string) bool { return regexp.MustCompile(s).MatchString("a/b_test.go") }) {
		t.Errorf("exclude_regex = %q, want tests to be matched", c.Build.ExcludeRegex)
	}
	if dir := filepath.Dir(output); !slices.Contains(c.Build.ExcludeDir, dir) {
		t.Errorf("exclude_dir = %q, want the output's %s", c.Build.ExcludeDir, dir)
	}
	if target := "/workspace/workspace-server/" + filepath.Dir(output) + ":"; !strings.Contains(read(t, "docker-compose.dev.yml"), target) {
		t.Errorf("docker-compose.dev.yml does not keep %s off the mount", target)
	}

	// The flags must be the same where the dependencies are compiled beforehand:
	// otherwise the first build compiles them all again.
	loop, err := airtoml.Find(c.Build.Cmd)
	if err != nil {
		t.Fatal(err)
	}
	everywhere := slices.DeleteFunc(slices.Clone(loop.Flags), func(f string) bool {
		return strings.HasPrefix(f, "-gcflags=workspace-server/...=") || strings.HasPrefix(f, "-ldflags=")
	})
	warm, err := airtoml.Find(code(t, "workspace-server/Dockerfile.dev"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(warm.Flags, everywhere) {
		t.Errorf("Dockerfile.dev warms the cache with %q, and the loop builds with %q", warm.Flags, everywhere)
	}
	if got, want := only(t, "workspace-server/Dockerfile.dev", `(?m)^ENV CGO_ENABLED=(\d)`), loop.Env["CGO_ENABLED"]; got != want {
		t.Errorf("Dockerfile.dev has CGO_ENABLED=%s, and the loop builds with %q", got, want)
	}
	production, err := airtoml.Find(code(t, "workspace-server/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if production.Env["CGO_ENABLED"] != loop.Env["CGO_ENABLED"] || !slices.Contains(production.Flags, "-buildvcs=false") {
		t.Errorf("production builds with %+v, want what the loop has: %+v", production, loop)
	}
	if slices.ContainsFunc(production.Flags, func(f string) bool { return strings.HasPrefix(f, "-gcflags") }) {
		t.Errorf("production builds with %q, want it optimised", production.Flags)
	}
	for _, word := range loop.Flags {
		if word == "-race" || strings.HasPrefix(word, "-ldflags") && strings.Contains(word, "-w") {
			t.Errorf("the loop builds with %q, which a debugger or the clock would miss", word)
		}
	}
	rule := slices.IndexFunc(c.Build.Rules, func(r struct {
		Name       string
		IncludeDir []string `toml:"include_dir"`
		IncludeExt []string `toml:"include_ext"`
		Cmd        string
	},
	) bool {
		return slices.Contains(r.IncludeDir, "migrations") && strings.Contains(r.Cmd, "make rebuild")
	})
	if rule < 0 {
		t.Error("no rule says what to do about an edited migration")
	}
}

// TestScripts: one shell for all, strict, and runnable.
func TestScripts(t *testing.T) {
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := os.DirFS(filepath.Join(root, "scripts"))
	names, err := fs.Glob(dir, "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("scripts: %v, %v", names, err)
	}
	for _, name := range names {
		text := read(t, "scripts/"+name)
		info, err := fs.Stat(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 { // to be sourced
			continue
		}
		if !strings.HasPrefix(text, "#!/bin/sh\n") || !strings.Contains(text, "\nset -eu\n") {
			t.Errorf("scripts/%s: want #!/bin/sh and set -eu", name)
		}
	}
}
