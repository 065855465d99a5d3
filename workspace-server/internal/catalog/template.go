package catalog

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"go.yaml.in/yaml/v3"

	"workspace-server/internal/workspace"
)

// templateFile describes a template.
const templateFile = "config.yaml"

// Templates are what workspaces begin with.
type Templates struct{ Directory[Template] }

// NewTemplates returns the templates below path, which need not exist yet.
func NewTemplates(path string) Templates {
	return Templates{Directory[Template]{path, kind{"template", "TEMPLATES_DIR", workspace.Invalid}, loadTemplate}}
}

// Template is one template, with its problems.
type Template struct {
	Name string `json:"name"`
	Config
	Errors []string `json:"errors"` // empty: the template can be used
}

func (t Template) problems() []string { return t.Errors }

// Use fails as Get does.
func (d Templates) Use(name string) error {
	_, err := d.Get(name)
	return err
}

// Files returns the directory of a template that can be used. A workspace begins
// with a copy of it. Files fails as Get does.
func (d Templates) Files(name string) (*os.Root, error) {
	if err := d.Use(name); err != nil {
		return nil, err
	}
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, err := root.OpenRoot(name)
	if err != nil {
		return nil, d.unavailable(err)
	}
	return files, nil
}

// loadTemplate reads the template in the directory name.
func loadTemplate(name string, fsys fs.FS) (t Template) {
	t = Template{Name: name, Errors: []string{}}
	defer func() { t.fill() }()
	if err := workspace.CheckTemplateName(name); err != nil {
		t.Errors = append(t.Errors, workspace.Message(err))
	}
	text, err := readText(fsys, templateFile)
	if err != nil {
		t.Errors = append(t.Errors, err.Error())
		return t
	}
	config, problems := parseConfig(text, name)
	t.Config = config
	t.Errors = append(t.Errors, problems...)
	for _, prompt := range config.PromptFiles {
		if !isFile(fsys, prompt) {
			t.Errors = append(t.Errors, fmt.Sprintf("prompt_files: %q is not a file of the template", prompt))
		}
	}
	return t
}

// Config is what a template's config.yaml says, except its name.
type Config struct {
	Description   string         `json:"description"             yaml:"description"`
	Version       string         `json:"version"                 yaml:"version"`
	Tier          Tier           `json:"tier"                    yaml:"tier"`
	Runtime       string         `json:"runtime"                 yaml:"runtime"`
	Model         string         `json:"model"                   yaml:"model"`
	PromptFiles   []string       `json:"prompt_files"            yaml:"prompt_files"`
	Skills        []string       `json:"skills"                  yaml:"skills"`
	Tools         []string       `json:"tools"                   yaml:"tools"`
	Env           Env            `json:"env"                     yaml:"env"`
	InitialPrompt string         `json:"initial_prompt"          yaml:"initial_prompt"`
	RuntimeConfig map[string]any `json:"runtime_config,omitempty" yaml:"runtime_config"`
}

// fill gives lists that are missing the form of empty ones, for JSON.
func (c *Config) fill() {
	for _, list := range []*[]string{&c.PromptFiles, &c.Skills, &c.Tools, &c.Env.Required, &c.Env.Optional} {
		if *list == nil {
			*list = []string{}
		}
	}
}

// Env names the variables that a workspace of the template must have, and may
// have.
type Env struct {
	Required []string `json:"required" yaml:"required"`
	Optional []string `json:"optional" yaml:"optional"`
}

// Tier is the size of a workspace, from minTier to maxTier.
type Tier int

const (
	minTier = 1
	maxTier = 4
)

// UnmarshalYAML implements yaml.Unmarshaler. The decoder alone reads 1.9 as 1, and
// 010 as 8.
func (t *Tier) UnmarshalYAML(node *yaml.Node) error {
	var n int
	if err := node.Decode(&n); err != nil {
		return err
	}
	if strconv.Itoa(n) != node.Value {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: `%s` is not a whole number", node.Line, node.Value)}}
	}
	*t = Tier(n)
	return nil
}

// parseConfig reads the config.yaml of the template in the directory name. It
// returns all problems; an unknown key is one.
func parseConfig(text []byte, name string) (Config, []string) {
	var content struct {
		Name   string `yaml:"name"`
		Config `yaml:",inline"`
	}
	if wrong := decode(text, templateFile, &content); wrong != nil {
		return Config{}, wrong
	}
	config := content.Config
	// YAML can hold what JSON cannot.
	if _, err := json.Marshal(config.RuntimeConfig); err != nil {
		config.RuntimeConfig = nil
		return config, []string{"runtime_config: keys must be texts, and numbers finite"}
	}
	return config, checkConfig(content.Name, name, config)
}

func checkConfig(name, dir string, c Config) []string {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if name != dir {
		add("name: %q is not %q, the name of the template's directory", name, dir)
	}
	if c.Description == "" {
		add("description is required")
	}
	if c.Version == "" {
		add("version is required")
	}
	if c.Runtime == "" {
		add("runtime is required")
	}
	if c.Tier < minTier || c.Tier > maxTier {
		add("tier: %d is not from %d to %d", c.Tier, minTier, maxTier)
	}
	for _, env := range append(append([]string{}, c.Env.Required...), c.Env.Optional...) {
		if !isEnvName(env) {
			add("env: %q is not the name of a variable", env)
		}
	}
	return wrong
}

func isEnvName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
