package templates

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
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
	var file struct {
		Name   string `yaml:"name"`
		Config `yaml:",inline"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return Config{}, explain(err)
	}
	var extra yaml.Node
	if err := dec.Decode(&extra); !errors.Is(err, io.EOF) {
		return Config{}, []string{"config.yaml holds more than one document"}
	}
	config := file.Config
	// YAML can hold what JSON cannot.
	if _, err := json.Marshal(config.RuntimeConfig); err != nil {
		config.RuntimeConfig = nil
		return config, []string{"runtime_config: keys have to be texts, and numbers finite"}
	}
	return config, check(file.Name, name, config)
}

// explain turns the decoder's errors into ones that say nothing of Go types.
func explain(err error) []string {
	if errors.Is(err, io.EOF) {
		return []string{"config.yaml is empty"}
	}
	typeErr, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var all []string
	for _, text := range typeErr.Errors {
		if before, rest, ok := strings.Cut(text, "field "); ok {
			if key, _, ok := strings.Cut(rest, " not found in type "); ok {
				text = before + fmt.Sprintf("unknown key %q", key)
			}
		}
		if before, rest, ok := strings.Cut(text, "cannot unmarshal "); ok {
			if what, goType, ok := strings.Cut(rest, " into "); ok {
				text = before + fmt.Sprintf("%s is not %s", what, inWords(goType))
			}
		}
		all = append(all, text)
	}
	return all
}

func inWords(goType string) string {
	switch {
	case goType == "string":
		return "a text"
	case goType == "int":
		return "a number"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	default:
		return "a mapping"
	}
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
