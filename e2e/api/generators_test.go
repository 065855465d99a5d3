package api

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/engine"
)

// generators pins the tools that make clients from the API's description, and holds
// programs that use what they make.
//
//go:embed generators
var generators embed.FS

// TestGoGenerator makes types, a client and a server with oapi-codegen, as it
// comes, and compiles them with a program that uses them.
func TestGoGenerator(t *testing.T) {
	t.Parallel()
	dir := generatorDir(t, map[string]string{"go.mod": "oapi-codegen.mod", "go.sum": "oapi-codegen.sum", "use.go": "use.go.txt"})
	run(t, dir, "go", "tool", "oapi-codegen", "-generate", "types,client,std-http-server,spec", "-package", "generated", "-o", "api.go", "openapi.json")
	run(t, dir, "go", "build", "./...")
}

// TestTypeScriptGenerator makes types with openapi-typescript and checks a program
// that uses them.
func TestTypeScriptGenerator(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("npm"); err != nil {
		if engine.Required() {
			t.Fatal("REQUIRE_DOCKER=1, but npm is missing")
		}
		t.Skip("needs npm, which is missing: install Node 20 or later")
	}
	dir := generatorDir(t, map[string]string{"package.json": "package.json", "package-lock.json": "package-lock.json", "use.ts": "use.ts"})
	run(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
	run(t, dir, filepath.Join("node_modules", ".bin", "openapi-typescript"), "openapi.json", "--output", "api.ts")
	run(t, dir, filepath.Join("node_modules", ".bin", "tsc"), "--noEmit", "--strict", "--module", "esnext", "--moduleResolution", "bundler", "use.ts", "api.ts")
}

// generatorDir returns a directory with the API's description and these files of
// the generators, by the names that they get.
func generatorDir(t *testing.T, names map[string]string) string {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	document, err := os.ReadFile(filepath.Join(root, "workspace-server", "internal", "openapi", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("openapi.json", document)
	for name, from := range names {
		text, err := fs.ReadFile(generators, "generators/"+from)
		if err != nil {
			t.Fatal(err)
		}
		write(name, text)
	}
	return dir
}

// run runs a command in a directory and fails the test with what it printed.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	// The directory is its own module, whatever the caller's settings are.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out))
	}
}
