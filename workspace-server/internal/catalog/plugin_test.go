package catalog

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

const validPlugin = `name: demo
version: 1.0.0
description: A demo.
author: Somebody
tags: [a, b]
skills: [greet]
runtimes: [shell]
`

func TestParseManifest(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"valid", validPlugin, nil},
		{"empty", "", []string{"plugin.yaml is empty"}},
		{"unknown keys", validPlugin + "skils: []\ntier: 1\n", []string{`line 8: unknown key "skils"`, `line 9: unknown key "tier"`}},
		{"host directories", validPlugin + "volumes: [/etc]\n", []string{`line 8: unknown key "volumes"`}},
		{"wrong types", strings.Replace(validPlugin, "[a, b]", "a", 1), []string{"line 5: !!str `a` is not a list"}},
		{"duplicate key", validPlugin + "author: x\n", []string{`line 8: mapping key "author" already defined at line 4`}},
		{"two documents", validPlugin + "---\nname: other\n", []string{"plugin.yaml holds more than one document"}},
		{"another name", strings.Replace(validPlugin, "demo", "other", 1), []string{`name: "other" is not "demo", the name of the plugin's directory`}},
		{"no fields", "name: demo\n", []string{"version is required", "description is required"}},
	}
	for _, tt := range tests {
		if _, got := parseManifest([]byte(tt.text), "demo"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: parseManifest = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// demo writes a plugin that can be attached, and returns the plugins.
func demo(t *testing.T) (path string, d Plugins) {
	t.Helper()
	path = t.TempDir()
	write(t, path, "demo/plugin.yaml", validPlugin)
	write(t, path, "demo/skills/greet/SKILL.md", "Say hello.\r\n")
	return path, NewPlugins(path)
}

func TestPluginsOnDisk(t *testing.T) {
	path, d := demo(t)
	named := func(name string) string {
		return strings.Replace(strings.Replace(validPlugin, "demo", name, 1), "skills: [greet]\n", "", 1)
	}
	for _, name := range []string{"linked", "linked-dir", "pipe", "deep", "Upper"} {
		write(t, path, name+"/plugin.yaml", named(name))
	}
	write(t, path, "missing/other.txt", "")
	write(t, path, "no-skill/plugin.yaml", strings.Replace(validPlugin, "demo", "no-skill", 1))
	write(t, path, "out/plugin.yaml", strings.Replace(strings.Replace(validPlugin, "demo", "out", 1), "greet", "../../demo/skills/greet", 1))
	write(t, path, "deep/"+strings.Repeat("d/", tree.MaxDepth)+"f", "")
	write(t, path, ".hidden/plugin.yaml", "")
	write(t, path, "README.md", "")
	if err := errors.Join(
		os.Symlink("/etc/passwd", filepath.Join(path, "linked", "passwd")),
		os.Symlink("../demo", filepath.Join(path, "linked-dir", "demo")),
		syscall.Mkfifo(filepath.Join(path, "pipe", "p"), 0o644),
		os.Symlink("demo", filepath.Join(path, "alias")),
	); err != nil {
		t.Fatal(err)
	}
	all, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"demo":       "",
		"linked":     `"passwd" is neither a file nor a directory`,
		"linked-dir": `"demo" is neither a file nor a directory`,
		"pipe":       `"p" is neither a file nor a directory`,
		"deep":       "more than 16 names",
		"Upper":      `The plugin name "Upper" is not valid`,
		"missing":    "plugin.yaml is missing",
		"no-skill":   `skills: "greet" has no file skills/greet/SKILL.md`,
		"out":        `skills: "../../demo/skills/greet" has no file`,
	}
	for _, p := range all {
		got, text := strings.Join(p.Errors, "\n"), want[p.Name]
		if _, ok := want[p.Name]; !ok || text == "" && got != "" || !strings.Contains(got, text) {
			t.Errorf("List()[%s].Errors = %q, want %q", p.Name, got, text)
		}
		if _, err := d.Get(p.Name); (err == nil) != (text == "") {
			t.Errorf("Get(%s) = %v, want an error if it has one", p.Name, err)
		}
		if readable := !strings.Contains(text, "neither") && !strings.Contains(text, "names"); readable != strings.HasPrefix(p.Digest, "sha256:") {
			t.Errorf("List()[%s].Digest = %q", p.Name, p.Digest)
		}
	}
	if len(all) != len(want) {
		t.Errorf("List() has %d plugins, want %d", len(all), len(want))
	}
	if text, err := json.Marshal(all); err != nil || strings.Contains(string(text), "null") || strings.Contains(string(text), path) {
		t.Errorf("List() as JSON = %s, %v, want no null and no path of the server", text, err)
	}
	for _, name := range []string{"nothing", "README.md", "../demo", "", "alias", ".hidden"} {
		if _, err := d.Get(name); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Get(%q) = %v, want NotFound", name, err)
		}
	}
	if _, err := NewPlugins(filepath.Join(path, "nothing")).List(); workspace.KindOf(err) != workspace.Unavailable || !strings.Contains(err.Error(), "PLUGINS_DIR") {
		t.Errorf("List() without a directory = %v, want Unavailable that names PLUGINS_DIR in the log", err)
	}
}

// Whatever changes what a workspace would see changes the digest, and nothing
// else does.
func TestDigest(t *testing.T) {
	path, d := demo(t)
	at := func(name string) string { return filepath.Join(path, "demo", name) }
	get := func() string {
		t.Helper()
		p, err := d.Get("demo")
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	first := get()
	seen := map[string]string{first: "nothing"}
	tests := []struct {
		call string
		do   func() error
		same bool
	}{
		{"other people's rights", func() error { return os.Chmod(at("plugin.yaml"), 0o600) }, true},
		{"another time", func() error { return os.Chtimes(at("plugin.yaml"), time.Unix(0, 0), time.Unix(0, 0)) }, true},
		{"an empty directory", func() error { return os.Mkdir(at("empty"), 0o755) }, true},
		{"executable", func() error { return os.Chmod(at("plugin.yaml"), 0o755) }, false},
		{"one byte", func() error { return os.WriteFile(at("skills/greet/SKILL.md"), []byte("Say hello.\n"), 0o644) }, false},
		{"another file", func() error { return os.WriteFile(at("a"), []byte("b"), 0o644) }, false},
		{"another name", func() error { return os.Rename(at("a"), at("b")) }, false},
		{"a place", func() error { return os.Rename(at("b"), at("skills/b")) }, false},
		{"no file", func() error { return os.WriteFile(at("skills/b"), nil, 0o644) }, false},
	}
	last := first
	for _, tt := range tests {
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		got := get()
		if (got == last) != tt.same {
			t.Errorf("%s: the digest is %s after %s, want the same: %v", tt.call, got, last, tt.same)
		}
		if other, ok := seen[got]; ok && !tt.same {
			t.Errorf("%s: the digest is that of %s", tt.call, other)
		}
		seen[got], last = tt.call, got
	}
	// Two directories whose parts, one after the other, are the same text.
	one := digest([]tree.File{{Path: "a", Body: []byte("x\nfile 1 b 1\ny")}})
	two := digest([]tree.File{{Path: "a", Body: []byte("x\n")}, {Path: "b", Body: []byte("y")}})
	if one == two {
		t.Errorf("one file and two have the digest %s", one)
	}
}

func TestResolve(t *testing.T) {
	path, d := demo(t)
	p, err := d.Get("demo")
	if err != nil {
		t.Fatal(err)
	}
	attached := []workspace.Attachment{{Name: "demo", Digest: p.Digest}}
	got, err := d.Resolve(attached)
	if err != nil || len(got) != 1 || got["demo"] != filepath.Join(path, "demo") {
		t.Errorf("Resolve() = %v, %v, want the directory", got, err)
	}
	if got, err := d.Resolve(nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Resolve(nothing) = %v, %v", got, err)
	}
	refused := func(call, want string) {
		if _, err := d.Resolve(attached); workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), want) {
			t.Errorf("Resolve() %s = %v, want Conflict with %q", call, err, want)
		}
	}
	write(t, path, "demo/skills/greet/SKILL.md", "Say something else.")
	refused("after an edit", "has changed since it was attached")
	if err := os.RemoveAll(filepath.Join(path, "demo")); err != nil {
		t.Fatal(err)
	}
	refused("when it is gone", "is gone")
	write(t, path, "demo/plugin.yaml", "name: demo\nx: y\n")
	if _, err := d.Resolve(attached); workspace.KindOf(err) != workspace.Invalid || !strings.Contains(workspace.Message(err), `line 2: unknown key "x"`) {
		t.Errorf("Resolve() of a broken plugin = %v, want Invalid", err)
	}
}

func TestShippedPlugins(t *testing.T) {
	all, err := NewPlugins(filepath.Join("..", "..", "plugins")).List()
	if err != nil || len(all) < 2 {
		t.Fatalf("List() = %d plugins, %v, want at least 2", len(all), err)
	}
	for _, p := range all {
		if len(p.Errors) > 0 || len(p.Skills) == 0 {
			t.Errorf("%s: %q, with the skills %q", p.Name, p.Errors, p.Skills)
		}
	}
}

func FuzzPlugin(f *testing.F) {
	for _, seed := range []string{validPlugin, "", "a: &a [*a]", "name: demo\nversion: 1\ndescription: x", "tags: {a: b}", "\xff\xfe", "name: [", "--- a\n--- b", "<<: {name: demo}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, wrong := parseManifest(text, "demo")
		for _, line := range wrong {
			if line == "" || strings.Contains(line, "catalog.") || strings.Contains(line, "struct {") {
				t.Errorf("parseManifest(%q) has the error %q, want one that says something, and nothing of Go types", text, line)
			}
		}
		if len(wrong) > 0 {
			return
		}
		written, err := yaml.Marshal(struct {
			Name     string
			Manifest `yaml:",inline"`
		}{"demo", m})
		if err != nil {
			t.Fatalf("parseManifest(%q) cannot be written: %v", text, err)
		}
		again, wrong := parseManifest(written, "demo")
		if len(wrong) > 0 || again.Version != m.Version || again.Description != m.Description || again.Author != m.Author ||
			!slices.Equal(again.Tags, m.Tags) || !slices.Equal(again.Skills, m.Skills) || !slices.Equal(again.Runtimes, m.Runtimes) {
			t.Errorf("parseManifest(%q) = %+v, and of what was written of it %+v, %q", text, m, again, wrong)
		}
	})
}
