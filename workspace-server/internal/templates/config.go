package templates

import (
	"encoding/json"
	"fmt"

	"workspace-server/internal/catalog"
)

// Config is what a template's config.yaml says, except for its name.
type Config struct {
	Description   string         `json:"description"             yaml:"description"`
	Version       string         `json:"version"                 yaml:"version"`
	Tier          int            `json:"tier"                    yaml:"tier"`
	Runtime       string         `json:"runtime"                 yaml:"runtime"`
	Model         string         `json:"model"                   yaml:"model"`
	PromptFiles   []string       `json:"prompt_files"            yaml:"prompt_files"`
	Skills        []string       `json:"skills"                  yaml:"skills"`
	Tools         []string       `json:"tools"                   yaml:"tools"`
	Env           Env            `json:"env"                     yaml:"env"`
	InitialPrompt string         `json:"initial_prompt"          yaml:"initial_prompt"`
	RuntimeConfig map[string]any `json:"runtime_config,omitempty" yaml:"runtime_config"`
}

// fill shows a list that is not given as an empty one.
func (c *Config) fill() {
	for _, list := range []*[]string{&c.PromptFiles, &c.Skills, &c.Tools, &c.Env.Required, &c.Env.Optional} {
		if *list == nil {
			*list = []string{}
		}
	}
}

// Env names the variables that a workspace of the template has to be given,
// and may be given.
type Env struct {
	Required []string `json:"required" yaml:"required"`
	Optional []string `json:"optional" yaml:"optional"`
}

// Tiers are the sizes of a workspace, from small to large.
const (
	minTier = 1
	maxTier = 4
)

// Parse reads the text of the config.yaml of the template in the directory
// name. It returns all that is wrong; a key that is not known is.
func Parse(text []byte, name string) (Config, []string) {
	var content struct {
		Name   string `yaml:"name"`
		Config `yaml:",inline"`
	}
	if wrong := catalog.Decode(text, file, &content); wrong != nil {
		return Config{}, wrong
	}
	config := content.Config
	// YAML can hold what JSON cannot.
	if _, err := json.Marshal(config.RuntimeConfig); err != nil {
		config.RuntimeConfig = nil
		return config, []string{"runtime_config: keys have to be texts, and numbers finite"}
	}
	return config, check(content.Name, name, config)
}

func check(name, dir string, c Config) []string {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if name != dir {
		add("name: %q is not the name of the template's directory, %q", name, dir)
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
