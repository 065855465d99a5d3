// Package airtoml reads the build command out of air's configuration, so
// callers that build with the same flags need not repeat them.
package airtoml

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// A Config is what is used of .air.toml.
type Config struct {
	Root  string
	Build struct {
		Cmd          string
		Entrypoint   []string
		IncludeExt   []string `toml:"include_ext"`
		ExcludeRegex []string `toml:"exclude_regex"`
		ExcludeDir   []string `toml:"exclude_dir"`
		Delay        int
		Rules        []struct {
			Name       string
			IncludeDir []string `toml:"include_dir"`
			IncludeExt []string `toml:"include_ext"`
			Cmd        string
		}
	}
}

// Parse reads a configuration.
func Parse(text string) (Config, error) {
	var c Config
	_, err := toml.Decode(text, &c)
	return c, err
}

// wrapper is what stands in for the go command in the build command.
const wrapper = "devloop build"

// GoBuild returns the build command with the go command in place of devloop.
func (c Config) GoBuild() (string, error) {
	if strings.Count(c.Build.Cmd, wrapper) != 1 {
		return "", fmt.Errorf("build.cmd is %q, want %q in it once", c.Build.Cmd, wrapper)
	}
	return strings.Replace(c.Build.Cmd, wrapper, "go build", 1), nil
}

// Output returns the file that is built.
func (c Config) Output() (string, error) {
	words := Words(c.Build.Cmd)
	for i, w := range words {
		if w == "-o" && i+1 < len(words) {
			return words[i+1], nil
		}
	}
	return "", errors.New("build.cmd has no -o")
}

// Words splits a command as a shell does that knows quotes and nothing else.
func Words(command string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	in := false
	for _, c := range command {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteRune(c)
			}
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\\':
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// A Build is what a shell command says to the go command's build.
type Build struct {
	Env   map[string]string
	Flags []string // without -o
}

// Find returns the first "go build" or "devloop build" in a command.
func Find(command string) (Build, error) {
	for line := range strings.Lines(strings.ReplaceAll(command, "\\\n", " ")) {
		if b, ok := find(Words(line)); ok {
			return b, nil
		}
	}
	return Build{}, fmt.Errorf("no build command in %q", command)
}

func find(words []string) (Build, bool) {
	for i := 0; i+1 < len(words); i++ {
		if (words[i] != "go" && words[i] != "devloop") || words[i+1] != "build" {
			continue
		}
		b := Build{Env: map[string]string{}}
		for k := i - 1; k >= 0; k-- {
			name, value, ok := strings.Cut(words[k], "=")
			if !ok || strings.HasPrefix(name, "-") {
				break
			}
			b.Env[name] = value
		}
		for k := i + 2; k < len(words) && !slices.Contains([]string{"&&", "||", "|", ";"}, words[k]) && !strings.HasPrefix(words[k], "$("); k++ {
			switch w := words[k]; {
			case w == "-o":
				k++
			case strings.HasPrefix(w, "-"):
				b.Flags = append(b.Flags, w)
			}
		}
		return b, true
	}
	return Build{}, false
}
