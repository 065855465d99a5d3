package static

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"e2e/harness/checkout"
)

// documents returns the Markdown files of the repository, by name. Those in
// templates, plugins and testdata are content, not documents.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range files(t, "*.md") {
		if !regexp.MustCompile(`(^|/)(testdata|templates|plugins)/`).MatchString(name) {
			all[name] = read(t, name)
		}
	}
	for _, name := range []string{
		"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "findings/README.md", "docs/architecture.md", "docs/debugging.md",
		"docs/loop.md", "docs/performance.md", "docs/production.md", "docs/troubleshooting.md", "docs/workspaces.md",
	} {
		if all[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	return all
}

func exists(t *testing.T, name string) bool {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

var fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```$")

func TestREADME(t *testing.T) {
	text := read(t, "README.md")
	if n := strings.Count(text, "\n"); n > 120 {
		t.Errorf("README.md has %d lines, want at most 120: move what is not for a first look to docs/", n)
	}
	const must = "For local dev with hot-reload, use `make dev` instead of `docker compose up`"
	if !strings.Contains(strings.Join(strings.Fields(text), " "), must) {
		t.Errorf("README.md does not say %q", must)
	}
	m := regexp.MustCompile(`\| (\d+)m if WATCH_RELOAD=1, else (\d+)s \|`).FindStringSubmatch(read(t, "workspace-server/CONFIG.md"))
	if m == nil {
		t.Fatal("CONFIG.md does not say how long requests may take in the loop, and elsewhere")
	}
	for name, want := range map[string]string{
		"README.md": "for up to " + m[1] + " min", "docs/production.md": "`DRAIN_TIMEOUT` (" + m[2] + " s by default)",
	} {
		if !strings.Contains(strings.Join(strings.Fields(read(t, name)), " "), want) {
			t.Errorf("%s does not say %q, as CONFIG.md does", name, want)
		}
	}
}

// TestLinks follows each relative link, and each link to a heading.
func TestLinks(t *testing.T) {
	docs := documents(t)
	links := 0
	linked := map[string]bool{}
	for name, text := range docs {
		text = fenced.ReplaceAllString(text, "")
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(link[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if !exists(t, target) {
				t.Errorf("%s links to %s, which does not exist", name, link[1])
				continue
			}
			linked[target] = linked[target] || target != name
			if anchor != "" && !slices.Contains(anchors(docs[target]), anchor) {
				t.Errorf("%s links to %s; the headings of %s are %q", name, link[1], target, anchors(docs[target]))
			}
		}
	}
	if links < 30 {
		t.Errorf("found %d links, want more", links)
	}
	for name := range docs {
		if strings.HasPrefix(name, "docs/") && !linked[name] {
			t.Errorf("no other document links to %s", name)
		}
	}
}

// anchors returns the anchors that forges give to a document's headings.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

// commands returns the words in a document that people may type: code spans, and
// the commands of console blocks.
func commands(text string) []string {
	var all []string
	for _, block := range fenced.FindAllString(text, -1) {
		for _, m := range regexp.MustCompile(`(?m)^ *\$ (.*)$`).FindAllStringSubmatch(block, -1) {
			all = append(all, m[1])
		}
	}
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestDocumentedCommands: each target, verb and flag that a document names exists.
func TestDocumentedCommands(t *testing.T) {
	targets := matches(`(?m)^([a-z][a-z-]*):`, read(t, "Makefile"))
	devloop := matches(`(?m)^  ([a-z]+)  +\S`, read(t, "devloop/cmd/devloop/main.go"))
	verbs := matches(`(?m)^\s*\{"([a-z ]+)", "`, read(t, "workspace-server/internal/cli/cli.go"))
	var cli strings.Builder
	for _, name := range files(t, "*.go") {
		if path.Dir(name) == "workspace-server/internal/cli" && !strings.HasSuffix(name, "_test.go") {
			cli.WriteString(read(t, name))
		}
	}
	flags := matches(`(?:Var|Func|Bool|Int|Int64|String|Duration)\((?:&[\w.]+, )?"([a-z-]+)", `, cli.String())
	if len(targets) < 10 || len(devloop) < 8 || len(verbs) < 20 || len(flags) < 15 {
		t.Fatalf("found targets %q, commands of devloop %q, verbs %q and flags %q, want more of each", targets, devloop, verbs, flags)
	}
	found := map[string]int{}
	for name, text := range documents(t) {
		if name == "CHANGELOG.md" {
			continue // it names what is gone
		}
		for _, command := range commands(text) {
			command, _, _ = strings.Cut(command, " # ")
			check := func(kind, pattern string, known []string) {
				for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(command, -1) {
					found[kind]++
					if !slices.Contains(known, m[1]) {
						t.Errorf("%s tells of %q: there is no %s %q, only %q", name, command, kind, m[1], known)
					}
				}
			}
			check("make target", `(?:^|\$\()make ([a-z][a-z-]*)`, targets)
			check("command of devloop", `(?:^|")devloop ([a-z]+)\b`, devloop)
			for _, m := range regexp.MustCompile(`\bws ([a-z]+)( [a-z]+)?([^|$]*)`).FindAllStringSubmatch(command, -1) {
				found["verb"]++
				if !slices.Contains(verbs, m[1]) && !slices.Contains(verbs, m[1]+m[2]) {
					t.Errorf("%s tells of %q: there is no verb %q", name, command, m[1]+m[2])
				}
				for _, flag := range regexp.MustCompile(` --?([a-z][a-z-]*)`).FindAllStringSubmatch(m[3], -1) {
					found["flag"]++
					if !slices.Contains(flags, flag[1]) && flag[1] != "h" {
						t.Errorf("%s tells of %q: there is no flag %q", name, command, flag[1])
					}
				}
			}
		}
	}
	for kind, least := range map[string]int{"make target": 30, "command of devloop": 10, "verb": 30, "flag": 15} {
		if found[kind] < least {
			t.Errorf("the documents name %d times a %s, want at least %d to be found", found[kind], kind, least)
		}
	}
}

// tables are the tables of packages, which tests of the modules write.
var tables = regexp.MustCompile(`(?s)<!-- packages .*?<!-- end -->`)

// TestDocumentedPaths: each file and package that a document names exists.
func TestDocumentedPaths(t *testing.T) {
	tops := []string{"workspace-server", "devloop", "e2e", "tools", "docs", "scripts", "findings", ".devcontainer", ".vscode", ".ci"}
	// Paths that are made, or are examples.
	made := regexp.MustCompile(`/tmp/|NAME|NNNN|^workspace-server/\.\.\.`)
	found := 0
	for name, text := range documents(t) {
		if name == "docs/workspaces.md" || name == "CHANGELOG.md" {
			continue // they name paths of the API, and what is gone
		}
		text = tables.ReplaceAllString(text, "")
		for _, m := range regexp.MustCompile("`(\\.?[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]*)+)`").FindAllStringSubmatch(text, -1) {
			top, _, _ := strings.Cut(m[1], "/")
			places := []string{m[1]}
			switch {
			case made.MatchString(m[1]):
				continue
			case slices.Contains([]string{"internal", "cmd", "migrations", "templates", "plugins"}, top):
				places = []string{"workspace-server/" + m[1]} // as CONTRIBUTING.md says
			case !slices.Contains(tops, top):
				continue
			}
			found++
			if !slices.ContainsFunc(places, func(place string) bool { return exists(t, place) }) {
				t.Errorf("%s tells of %s, which does not exist", name, m[1])
			}
		}
	}
	if found < 60 {
		t.Errorf("found %d paths, want more", found)
	}
}

// TestDocumentedFunctions: a document that names a file and then a function,
// as `file.go`, `function`, is right.
func TestDocumentedFunctions(t *testing.T) {
	found := 0
	for name, text := range documents(t) {
		text = strings.Join(strings.Fields(text), " ")
		for _, m := range regexp.MustCompile("`([\\w./-]+/[\\w-]+\\.go)`, `(\\w+)`").FindAllStringSubmatch(text, -1) {
			found++
			file := m[1]
			if !exists(t, file) {
				file = "workspace-server/" + file
			}
			if !exists(t, file) {
				t.Errorf("%s tells of %s, which does not exist", name, m[1])
				continue
			}
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + m[2] + `\(`).MatchString(read(t, file)) {
				t.Errorf("%s tells of %s in %s, which has no such function", name, m[2], file)
			}
		}
	}
	if found < 30 {
		t.Errorf("found %d functions, want more", found)
	}
}

// printed returns what the programs may print: the text of their sources, with
// numbers and values replaced by 0.
func printed(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, name := range files(t, "*") {
		isProgram := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") || path.Dir(name) == "scripts" || path.Base(name) == ".air.toml"
		if isProgram && !strings.Contains(name, "testdata/") {
			b.WriteString(read(t, name))
		}
	}
	return values.ReplaceAllString(b.String(), "0")
}

var values = regexp.MustCompile(`\$\([^)]*\)|\$\w+|%[.0-9]*[a-z]|[0-9.:]*[0-9][a-z]*\b`)

// TestMessages: the messages that docs/troubleshooting.md explains are printed.
func TestMessages(t *testing.T) {
	all := printed(t)
	rows := matches("(?m)^\\| (`[^|]+`) \\| ", read(t, "docs/troubleshooting.md"))
	if len(rows) < 20 {
		t.Errorf("docs/troubleshooting.md has the messages %q, want more to be found", rows)
	}
	for _, row := range rows {
		for _, message := range matches("`([^`]+)`", row) {
			for part := range strings.SplitSeq(values.ReplaceAllString(message, "0"), ": ") {
				if !strings.Contains(all, part) {
					t.Errorf("docs/troubleshooting.md explains %s, but nothing prints %q", row, part)
				}
			}
		}
	}
}

// TestLoopLines: the lines of the loop that documents show have the form that
// the loop prints.
func TestLoopLines(t *testing.T) {
	all := printed(t)
	found := map[string]int{}
	for _, text := range documents(t) {
		for _, block := range fenced.FindAllString(text, -1) {
			for _, start := range []string{"serving  ", "reloaded in ", "build failed in ", "debugger attached: ", "debugger moved to pid "} {
				for _, m := range regexp.MustCompile(`(?m)^`+start+`.*$`).FindAllString(block, -1) {
					found[start]++
					if _, more, ok := strings.Cut(m, ", "); ok && start == "debugger moved to pid " && !strings.Contains(all, more) {
						t.Errorf("a document shows %q, but nothing prints %q", m, more)
					}
					if start == "reloaded in " && !regexp.MustCompile(`^reloaded in [\d.]+s  \(detect [\d.]+, build [\d.]+, start [\d.]+, swap [\d.]+\)  \S+\.go$`).MatchString(m) {
						t.Errorf("a document shows %q, which is not how the loop prints a reload", m)
					}
				}
				if !strings.Contains(all, values.ReplaceAllString(start, "0")) {
					t.Errorf("nothing prints %q", start)
				}
			}
		}
	}
	if len(found) != 5 {
		t.Errorf("the documents show %v, want each kind of line", slices.Collect(maps.Keys(found)))
	}
}

// TestGlossary: the glossary has each word once, and each package that it names
// exists.
func TestGlossary(t *testing.T) {
	text := read(t, "docs/architecture.md")
	_, words, _ := strings.Cut(text, "\n## Words\n")
	words, _, _ = strings.Cut(words, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]*) ?\|$`).FindAllStringSubmatch(words, -1)
	seen := map[string]bool{}
	named := 0
	for _, row := range rows {
		if row[1] == "word" || strings.HasPrefix(row[1], "-") {
			continue
		}
		if seen[row[1]] {
			t.Errorf("the glossary has %q twice", row[1])
		}
		seen[row[1]] = true
		for _, dir := range matches("`([^`]+)`", row[3]) {
			named++
			if strings.HasPrefix(dir, "internal/") {
				dir = "workspace-server/" + dir
			}
			if !exists(t, dir) {
				t.Errorf("the glossary says that %s is in %s, which does not exist", row[1], dir)
			}
		}
	}
	if len(seen) < 30 || named < 30 {
		t.Errorf("the glossary has %d words and names %d packages, want more to be found", len(seen), named)
	}
}

// TestDebugConfigurations: docs/debugging.md explains each configuration of
// VS Code, and no document names another one.
func TestDebugConfigurations(t *testing.T) {
	configurations := matches(`"name": "([^"]+)"`, read(t, ".vscode/launch.json"))
	explained := matches(`(?m)^\| ([A-Z][^|]*[^| ]) +\|`, read(t, "docs/debugging.md"))
	if len(configurations) == 0 || !slices.Equal(explained, configurations) {
		t.Errorf("docs/debugging.md explains %q, want each of %q", explained, configurations)
	}
	for name, text := range documents(t) {
		for _, named := range matches(`"(Attach [^"]+)"`, text) {
			if !slices.Contains(configurations, named) {
				t.Errorf("%s tells of %q, which .vscode/launch.json does not have", name, named)
			}
		}
	}
}

// TestFindings: each script has the form that findings/README.md asks for.
func TestFindings(t *testing.T) {
	form := []string{
		"#!/bin/sh\n", "\n# Tool:", "\n# Behaviour:", "\n# Surprise:", "\n# Do:", "\nset -eu\n", "tmp=$(mktemp -d)\n", "trap 'rm -rf \"$tmp\"' EXIT\n",
	}
	for _, name := range append(files(t, "*.sh"), "findings/README.md") {
		if path.Dir(name) != "findings" {
			continue
		}
		text := read(t, name)
		for _, part := range form {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %q", name, strings.TrimSpace(part))
			}
		}
	}
}
