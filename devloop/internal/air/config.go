package air

import (
	"os"
	"path/filepath"
	"regexp"
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
	// platform tells that the command depends on the system: air knows which one it is.
	platform bool
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
	for _, system := range []string{"linux", "darwin", "windows"} {
		c.platform = c.platform || build[system] != nil
	}
	rules, _ := build["rules"].(list)
	for _, r := range rules {
		if t, ok := r.(table); ok {
			c.rules = append(c.rules, rule{words(t["include_dir"]), words(t["include_ext"]), words(t["include_file"])})
		}
	}
	return c, nil
}

// ConfigPath returns where a command line of air, run in dir, finds its configuration.
func ConfigPath(command []string, dir string) string {
	return (&Keeper{Command: command, Dir: dir}).configPath()
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

// Watches returns the extensions of the files that air watches, and the
// directories that it leaves out, relative to its own.
func (k *Keeper) Watches() (exts, skip []string) {
	c := k.config.Load()
	if c == nil {
		return nil, nil
	}
	for _, dir := range append([]string{c.TmpDir}, c.ExcludeDir...) {
		skip = append(skip, strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(dir), "./"), "/"))
	}
	return c.IncludeExt, skip
}

// arguments are those of air. A build command that does more than to ask the
// loop for a build may write files that air watches, and run because of that
// again, for ever: air asks the loop instead, which knows when to run it.
func (k *Keeper) arguments() []string {
	args := k.Command[1:]
	c := k.config.Load()
	own := slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "build.cmd") || strings.Contains(a, "build.pre_cmd") })
	if c == nil || filepath.Base(k.Command[0]) != "air" || own || c.platform || c.builds() {
		return args
	}
	// Air goes on after a pre_cmd that fails.
	script := strings.Join(append(slices.Clone(c.Before), c.Command), "\n")
	with := []string{"--build.cmd", "devloop command '" + strings.ReplaceAll(script, "'", `'\''`) + "'"}
	if len(c.Before) > 0 {
		with = append(with, "--build.pre_cmd", ":")
	}
	return append(with, args...)
}

// quoted matches the parts of a shell command that the shell does not look into.
var quoted = regexp.MustCompile(`'[^']*'|"(\\.|[^"\\])*"|\\.`)

// builds reports whether air's command is "devloop build" and nothing else.
func (c Config) builds() bool {
	bare := quoted.ReplaceAllString(c.Command, "")
	return len(c.Before) == 0 && strings.Contains(bare, "devloop build ") && !strings.ContainsAny(bare, ";&|\n`") && !strings.Contains(bare, "$(")
}
