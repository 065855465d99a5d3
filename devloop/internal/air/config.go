package air

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Config is what the loop wants to know of air's configuration.
type Config struct {
	Path       string // of the file, whether it exists or not
	Command    string // how air builds
	Before     []string
	IncludeExt []string
	ExcludeDir []string
	TmpDir     string

	text  string
	rules []rule
}

// A rule has air run a command for some files, and not build.
type rule struct{ dirs, exts, files []string }

// Config reads the configuration that air gets by its arguments. What is not
// in the file has air's default.
func (k *Keeper) Config() (Config, error) {
	c := Config{Path: k.configPath(), Command: "go build -o ./tmp/main .", IncludeExt: []string{"go", "tpl", "tmpl", "html"}, TmpDir: "tmp"}
	text, err := os.ReadFile(c.Path)
	if err != nil {
		return c, err
	}
	all, err := readTOML(string(text))
	if err != nil {
		return c, err
	}
	c.text = string(text)
	set(&c.TmpDir, all["tmp_dir"])
	build, _ := all["build"].(table)
	set(&c.Command, build["cmd"])
	c.Before = words(build["pre_cmd"])
	if exts := words(build["include_ext"]); exts != nil {
		c.IncludeExt = exts
	}
	c.ExcludeDir = words(build["exclude_dir"])
	rules, _ := build["rules"].(list)
	for _, r := range rules {
		if t, ok := r.(table); ok {
			c.rules = append(c.rules, rule{words(t["include_dir"]), words(t["include_ext"]), words(t["include_file"])})
		}
	}
	return c, nil
}

// configPath returns where air finds its configuration.
func (k *Keeper) configPath() string {
	path := ""
	for i, arg := range k.Command {
		name, value, joined := strings.Cut(arg, "=")
		switch {
		case name != "-c" && name != "--c":
		case joined:
			path = value
		case i+1 < len(k.Command):
			path = k.Command[i+1]
		}
	}
	if path == "" {
		path = ".air.toml"
		if _, err := os.Stat(filepath.Join(k.Dir, path)); err != nil {
			if other := filepath.Join(".config", "air.toml"); exists(filepath.Join(k.Dir, other)) {
				path = other
			}
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(k.Dir, path)
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Ruled reports whether a rule is about a file, named relative to air's
// directory: an edit of it runs the rule's command, and builds nothing.
func (c Config) Ruled(name string) bool {
	name = filepath.ToSlash(name)
	return slices.ContainsFunc(c.rules, func(r rule) bool {
		in := func(dir string) bool {
			dir = strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(dir), "./"), "/")
			return dir == "." || strings.HasPrefix(name, dir+"/")
		}
		if len(r.dirs) > 0 && !slices.ContainsFunc(r.dirs, in) {
			return false
		}
		if len(r.exts) == 0 && len(r.files) == 0 {
			return true
		}
		ext := strings.TrimPrefix(filepath.Ext(name), ".")
		return slices.Contains(r.exts, "*") || ext != "" && slices.Contains(r.exts, ext) || slices.Contains(r.files, name)
	})
}

func set(to *string, value any) {
	if s, ok := value.(string); ok {
		*to = s
	}
}

// words returns the strings of a list, or nil if it is none.
func words(value any) []string {
	l, ok := value.(list)
	if !ok {
		return nil
	}
	out := []string{}
	for _, v := range l {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
