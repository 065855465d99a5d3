package catalog

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"workspace-server/internal/workspace"
)

const validTemplate = `name: demo
description: A demo.
version: 1.0.0
tier: 2
runtime: shell
env:
  required: [API_KEY]
runtime_config:
  nested: {list: [1, two]}
`

func TestParseConfig(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"valid", validTemplate, nil},
		{"empty", "", []string{"config.yaml is empty"}},
		{"comment only", "# nothing\n", []string{"config.yaml is empty"}},
		{"unknown keys", validTemplate + "modle: x\nenvs: {}\n", []string{`line 10: unknown key "modle"`, `line 11: unknown key "envs"`}},
		{"host directories", validTemplate + "volumes: [/etc]\nmounts: {/etc: /configs}\n", []string{`line 10: unknown key "volumes"`, `line 11: unknown key "mounts"`}},
		{"unknown nested key", strings.Replace(validTemplate, "  required", "  requird", 1), []string{`line 7: unknown key "requird"`}},
		{"wrong types", strings.Replace(validTemplate, "tier: 2", "tier: two\nskills: shell", 1), []string{"line 4: !!str `two` is not a number", "line 5: !!str `shell` is not a list"}},
		{"a part of a tier", strings.Replace(validTemplate, "tier: 2", "tier: 1.9", 1), []string{"line 4: `1.9` is not a whole number"}},
		{"an octal tier", strings.Replace(validTemplate, "tier: 2", "tier: 02", 1), []string{"line 4: `02` is not a whole number"}},
		{"duplicate key", validTemplate + "tier: 3\n", []string{`line 10: mapping key "tier" already defined at line 4`}},
		{"syntax", "name: [", []string{"line 1: did not find expected node content"}},
		{"two documents", validTemplate + "---\nname: other\n", []string{"config.yaml holds more than one document"}},
		{"another name", strings.Replace(validTemplate, "demo", "other", 1), []string{`name: "other" is not "demo", the name of the template's directory`}},
		{"no fields", "name: demo\n", []string{"description is required", "version is required", "runtime is required", "tier: 0 is not from 1 to 4"}},
		{"bad variable", strings.Replace(validTemplate, "API_KEY", "API-KEY", 1), []string{`env: "API-KEY" is not the name of a variable`}},
		{"not JSON", strings.Replace(validTemplate, "list:", "1: .nan, list:", 1), []string{"runtime_config: keys must be texts, and numbers finite"}},
	}
	for _, tt := range tests {
		if _, got := parseConfig([]byte(tt.text), "demo"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: parseConfig = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTemplatesOnDisk(t *testing.T) {
	path := t.TempDir()
	dir := NewTemplates(path)
	write(t, path, "demo/config.yaml", validTemplate)
	write(t, path, "missing/other.txt", "")
	write(t, path, "Upper/config.yaml", strings.Replace(validTemplate, "demo", "Upper", 1))
	write(t, path, "large/config.yaml", strings.Repeat("#", maxText+1))
	write(t, path, "prompts/config.yaml", strings.Replace(validTemplate, "demo", "prompts", 1)+
		"prompt_files: [a.md, b.md, ../demo/config.yaml, /etc/passwd]\n")
	write(t, path, "prompts/a.md", "")
	write(t, path, ".hidden/config.yaml", "")
	write(t, path, "README.md", "")
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "config.yaml", validTemplate)
	if err := os.MkdirAll(filepath.Join(path, "link"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(secret, "config.yaml"), filepath.Join(path, "link", "config.yaml")); err != nil {
		t.Fatal(err)
	}

	if err := os.MkdirAll(filepath.Join(path, "pipe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(path, "pipe", "config.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}

	all, err := dir.List()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, template := range all {
		got[template.Name] = strings.Join(template.Errors, "\n")
	}
	want := map[string]string{
		"demo":    "",
		"missing": "config.yaml is missing",
		"Upper":   `The template name "Upper" is not valid. Use a-z, 0-9 and -, at most 63 characters.`,
		"large":   "config.yaml is larger than 256 KiB",
		"link":    "config.yaml cannot be opened",
		"pipe":    "config.yaml is not a file",
		"prompts": "prompt_files: \"b.md\" is not a file of the template\n" +
			"prompt_files: \"../demo/config.yaml\" is not a file of the template\n" +
			"prompt_files: \"/etc/passwd\" is not a file of the template",
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("List()[%s].Errors = %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("List() has %d templates, want %d", len(got), len(want))
	}
	if text, err := json.Marshal(all); err != nil || strings.Contains(string(text), "null") || strings.Contains(string(text), secret) {
		t.Errorf("List() as JSON = %s, %v, want no null and no path of the server", text, err)
	}

	files, err := dir.Files("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if names, err := fs.Glob(files.FS(), "*"); err != nil || !slices.Equal(names, []string{"config.yaml"}) {
		t.Errorf("Files(demo) has %q, %v, want its file", names, err)
	}
	for _, name := range []string{"nothing", "Upper", "missing", "prompts", "../demo"} {
		if _, err := dir.Files(name); workspace.KindOf(err) != workspace.Invalid {
			t.Errorf("Files(%s) = %v, want Invalid", name, err)
		}
	}

	// An edit counts at once.
	if err := dir.Use("demo"); err != nil {
		t.Errorf("Use(demo) = %v, want nil", err)
	}
	write(t, path, "demo/config.yaml", validTemplate+"modle: x\n")
	if err := dir.Use("demo"); workspace.KindOf(err) != workspace.Invalid || !strings.Contains(err.Error(), `unknown key "modle"`) {
		t.Errorf("Use(demo) after a wrong edit = %v, want Invalid with the unknown key", err)
	}
	for _, name := range []string{"nothing", "README.md", "../demo", ""} {
		if err := dir.Use(name); workspace.KindOf(err) != workspace.Invalid {
			t.Errorf("Use(%q) = %v, want Invalid", name, err)
		}
	}
}

func TestNoTemplates(t *testing.T) {
	dir := NewTemplates(filepath.Join(t.TempDir(), "nothing"))
	_, listErr := dir.List()
	for _, err := range []error{dir.Check(), listErr, dir.Use("demo")} {
		if workspace.KindOf(err) != workspace.Unavailable || !strings.Contains(err.Error(), "TEMPLATES_DIR") {
			t.Errorf("a missing directory = %v, want Unavailable that names TEMPLATES_DIR in the log", err)
		}
		if strings.Contains(workspace.Message(err), "nothing") {
			t.Errorf("Message(%v) names a path of the server", err)
		}
	}
}

func TestShippedTemplates(t *testing.T) {
	all, err := NewTemplates(filepath.Join("..", "..", "templates")).List()
	if err != nil || len(all) < 3 {
		t.Fatalf("List() = %d templates, %v, want at least 3", len(all), err)
	}
	for _, template := range all {
		if len(template.Errors) > 0 {
			t.Errorf("%s: %q", template.Name, template.Errors)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add([]byte(validTemplate))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("runtime_config: {? [1] : 2, d: 99999-01-01}"))
	f.Add([]byte("\xff\xfe"))
	f.Fuzz(func(t *testing.T, text []byte) {
		config, wrong := parseConfig(text, "demo")
		if _, err := json.Marshal(config); err != nil {
			t.Errorf("parseConfig(%q) cannot be shown as JSON: %v", text, err)
		}
		for _, line := range wrong {
			if line == "" || strings.Contains(line, "catalog.") || strings.Contains(line, "struct {") {
				t.Errorf("parseConfig(%q) has the error %q, want one that says something, and nothing of Go types", text, line)
			}
		}
		if len(wrong) > 0 {
			return
		}
		// What is accepted holds what every template does, and is read again as
		// the same when it is written.
		if config.Description == "" || config.Version == "" || config.Runtime == "" || config.Tier < minTier || config.Tier > maxTier {
			t.Errorf("parseConfig(%q) = %+v without an error", text, config)
		}
		written, err := yaml.Marshal(struct {
			Name   string
			Config `yaml:",inline"`
		}{"demo", config})
		if err != nil {
			t.Fatalf("parseConfig(%q) cannot be written: %v", text, err)
		}
		again, wrong := parseConfig(written, "demo")
		config.fill()
		again.fill()
		first, err := json.Marshal(config)
		second, againErr := json.Marshal(again)
		if len(wrong) > 0 || err != nil || againErr != nil || string(first) != string(second) {
			t.Errorf("parseConfig(%q) = %s, and of what was written of it %s, %q", text, first, second, wrong)
		}
	})
}
