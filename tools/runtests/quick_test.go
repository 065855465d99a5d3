package main

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"e2e/harness/checkout"
)

func TestChoose(t *testing.T) {
	modules := []string{"workspace-server", "devloop", "e2e", "tools", "tools/lint"}
	pkgs := []pkg{
		{path: "workspace-server/cmd/s", module: "workspace-server", imports: []string{"fmt", "workspace-server/internal/api"}},
		{path: "workspace-server/internal/api", module: "workspace-server", imports: []string{"workspace-server/internal/store"}},
		{path: "workspace-server/internal/store", module: "workspace-server"},
		{path: "workspace-server/internal/cli", module: "workspace-server", testImports: []string{"workspace-server/internal/api"}},
		{path: "workspace-server/internal/shell", module: "workspace-server", imports: []string{"workspace-server/internal/cli"}},
		{path: "devloop/internal/air", module: "devloop"},
		{path: "e2e/harness/load", module: "e2e"},
		{path: "e2e/reload", module: "e2e", testImports: []string{"e2e/harness/load"}},
		{path: "tools/bench", module: "tools", imports: []string{"e2e/harness/load"}},
		{path: "tools/lint", module: "tools/lint"},
	}
	for i := range pkgs {
		pkgs[i].dir = pkgs[i].path
	}
	tests := []struct{ files, want string }{
		{"", ""},
		{"README.md", ""},
		{"workspace-server/internal/store/store.go", "ws/cmd/s ws/internal/api ws/internal/cli ws/internal/store"},
		{"workspace-server/internal/api/api.go", "ws/cmd/s ws/internal/api ws/internal/cli"},
		{"workspace-server/internal/store/store_test.go", "ws/internal/store"},
		{"workspace-server/internal/store/testdata/old.sql", "ws/internal/store"},
		{"workspace-server/internal/store/sql/1.sql", "ws/cmd/s ws/internal/api ws/internal/cli ws/internal/store"},
		{"workspace-server/internal/cli/cli.go", "ws/internal/cli ws/internal/shell"},
		{"workspace-server/templates/x.yaml", "ws/cmd/s ws/internal/api ws/internal/cli ws/internal/shell ws/internal/store"},
		{"devloop/go.mod", "devloop/internal/air"},
		{"e2e/harness/load/load.go", "e2e/harness/load e2e/reload tools/bench"},
		{"tools/lint/main.go", "tools/lint"},
		{"tools/go.mod", "tools/bench"},
		{"devloop/internal/air/air.go tools/lint/go.sum", "devloop/internal/air tools/lint"},
		{"devloopment/x.go", ""},
		{"scripts/dev", "e2e/scripts"},
		{".vscode/tasks.json", "e2e/editor"},
	}
	for _, tt := range tests {
		chosen := choose(strings.Fields(tt.files), modules, pkgs)
		for _, always := range []string{"e2e/static", "workspace-server/internal/rules"} {
			if chosen[always] != (tt.files != "") {
				t.Errorf("choose(%s) has %s: %v, want it with any file", tt.files, always, chosen[always])
			}
			delete(chosen, always)
		}
		got := strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(chosen)), " "), "workspace-server", "ws")
		if got != tt.want {
			t.Errorf("choose(%s) = %s, want %s", tt.files, got, tt.want)
		}
	}
}

// TestReaders: what is tested by name is there, with tests.
func TestReaders(t *testing.T) {
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := findModules(root)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, module := range modules {
		pkgs, err := listPackages(t.Context(), root, module)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pkgs {
			there[p.path] = p.tests && p.dir == p.path
		}
	}
	for _, r := range readers {
		if found, _ := filepath.Glob(filepath.Join(root, r.prefix) + "*"); !there[r.pkg] || len(found) == 0 {
			t.Errorf("%s reads %q: the package is there with tests: %v, files: %q", r.pkg, r.prefix, there[r.pkg], found)
		}
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v: %s", args, err, out)
	}
}

func TestChanges(t *testing.T) {
	root := repository(t, nil)
	commit := func(name string) {
		t.Helper()
		write(t, root, name, "")
		git(t, root, "add", "-A")
		git(t, root, "commit", "-q", "-m", name)
	}
	want := func(when, since, files string) {
		t.Helper()
		got, from, err := changes(t.Context(), root)
		if err != nil || fmt.Sprint(got) != "["+files+"]" || !strings.HasPrefix(from, since+" (") {
			t.Errorf("%s: changes() = %v, %q, %v, want [%s], %q", when, got, from, err, files, since)
		}
	}
	if _, _, err := changes(t.Context(), root); err == nil {
		t.Error("changes() outside of a repository = nil, want an error")
	}
	git(t, root, "init", "-q", "-b", "main")
	write(t, root, ".gitignore", "*.log")
	git(t, root, "add", ".gitignore")
	commit("first")
	want("one commit", "the last commit", "")
	commit("second")
	want("on main, nothing open", "the commit before the last", "second")
	write(t, root, "a b.txt", "")
	write(t, root, "x.log", "")
	want("on main, a new file", "the last commit", "a b.txt")

	git(t, root, "checkout", "-q", "-b", "topic")
	want("on a branch, a new file", "main", "a b.txt")
	commit("third")
	git(t, root, "rm", "-q", "--cached", "first")
	want("on a branch, one committed, one removed", "main", "a b.txt first third")
	git(t, root, "add", "-A")
	git(t, root, "checkout", "-q", "main")
	commit("fourth")
	git(t, root, "checkout", "-q", "topic")
	want("on a branch that main has left", "main", "a b.txt third")
	git(t, root, "checkout", "-q", "--detach")
	want("on no branch", "main", "a b.txt third")

	clone := filepath.Join(t.TempDir(), "clone")
	git(t, root, "clone", "-q", "-b", "main", root, clone)
	root = clone
	want("a fresh clone", "the commit before the last", "fourth")
	commit("fifth")
	write(t, root, "sixth", "")
	want("on main, ahead of its upstream", "main@{upstream}", "fifth sixth")
	git(t, root, "checkout", "-q", "-b", "topic", "origin/main")
	git(t, root, "branch", "-q", "-D", "main")
	want("with no main here", "origin/main", "sixth")
}

// TestQuick: what changed is tested, with what imports it, and nothing else.
func TestQuick(t *testing.T) {
	const imports = "package %s\n\nimport _ \"devloop/a\""
	const short = "package %s\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {\n\tif testing.Short() {\n\t\tt.Skip(\"takes minutes\")\n\t}\n}\n\nfunc TestB(t *testing.T) {}"
	root := repository(t, map[string]string{
		"devloop/a/a.go": "package a", "devloop/a/a_test.go": fmt.Sprintf(short, "a"),
		"devloop/b/b.go": fmt.Sprintf(imports, "b"), "devloop/b/b_test.go": fmt.Sprintf(short, "b"),
		"devloop/c/c.go": "package c", "devloop/c/c_test.go": fmt.Sprintf(short, "c"),
		"e2e/go.mod": "module e2e\n\ngo 1.26\n", "e2e/static/s_test.go": fmt.Sprintf(short, "s"), "e2e/reload/r_test.go": fmt.Sprintf(short, "r"),
	})
	git(t, root, "init", "-q", "-b", "main")
	git(t, root, "add", "-A")
	git(t, root, "commit", "-q", "-m", "all")
	write(t, root, "devloop/a/more.go", "package a")

	cmd, out := program(t, root, "-quick")
	cmd.Env = append(cmd.Env, "TEST_DATABASE_URL=postgres://nowhere", "REQUIRE_DOCKER=1")
	if err := cmd.Run(); err != nil {
		t.Errorf("runtests -quick: %v", err)
	}
	got := out.String()
	for _, want := range []string{
		"changed since the last commit (", "✓  devloop/a", "✓  devloop/b", "✓  e2e/static", "\n3 passed, 0 failed, 6 skipped\n",
		"\nskipped: -quick\n  workspace-server on Postgres\n  the race detector\n",
		"\nskipped: -quick: it runs servers, loops or containers for minutes\n  e2e/reload\n",
		"\nskipped: takes minutes\n  devloop/a TestA\n  devloop/b TestA\n  e2e/static TestA\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("runtests -quick printed\n%s\nwant %q in it", got, want)
		}
	}
	if strings.Contains(got, "devloop/c") {
		t.Errorf("runtests -quick printed\n%s\nwant nothing of devloop/c", got)
	}

	git(t, root, "add", "-A")
	git(t, root, "commit", "-q", "-m", "more")
	write(t, root, "devloop/c/c.go", "package c\n\nfunc broken(")
	if out, ok := said(t, root, "-quick"); ok || !strings.Contains(out, "✖  devloop/c") || strings.Contains(out, "devloop/a") {
		t.Errorf("runtests -quick of a package that does not compile succeeds: %v\n%s\nwant its failure alone", ok, out)
	}
}
