package initialize

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

//go:embed template
var templates embed.FS

// containerFiles are the files of a dev container: the template, and where it goes.
func containerFiles() map[string]string {
	return map[string]string{
		"template/Dockerfile.dev":         "Dockerfile.dev",
		"template/docker-compose.dev.yml": "docker-compose.dev.yml",
		"template/devcontainer.json":      ".devcontainer/devcontainer.json",
	}
}

// writeContainer writes a dev container that runs the loop with these flags. Source is
// devloop's module.
func writeContainer(m Module, main Main, p plan, o Options) error {
	info, err := os.Stat(filepath.Join(o.Source, "tools.mod"))
	if err != nil || info.IsDir() {
		return errors.New("the image builds devloop from its source: name the directory devloop of a checkout with -source")
	}
	source, err := filepath.Rel(m.Dir, o.Source)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(source, ".") {
		source = "./" + source
	}
	command := append([]string{"devloop", "up"}, p.inContainer()...)
	fill := strings.NewReplacer(
		"$SOURCE", source, "$COMMAND", quotes(append(command, "-debug", ":2345", "--", "air", "-c", Config)),
		"$NAME", main.Name, "$PORT", p.port(),
	)
	files := containerFiles()
	for _, name := range files {
		if _, err := os.Stat(filepath.Join(m.Dir, name)); err == nil && !o.Force {
			return write(filepath.Join(m.Dir, name), "", false) // before any is written
		}
	}
	return fs.WalkDir(templates, "template", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(templates, name)
		if err != nil {
			return err
		}
		path := filepath.Join(m.Dir, files[name])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := write(path, fill.Replace(string(text)), o.Force); err != nil {
			return err
		}
		fmt.Fprintln(o.Out, "wrote", path)
		return nil
	})
}

// inContainer returns the flags for a container, where the engine publishes what
// listens on all addresses.
func (p plan) inContainer() []string {
	flags := make([]string, len(p.flags))
	for i, flag := range p.flags {
		if i > 0 && p.flags[i-1] == "-listen" {
			_, port, _ := net.SplitHostPort(flag)
			flag = ":" + port
		}
		flags[i] = strings.Trim(flag, "'") // no shell reads it
	}
	return flags
}

// port returns the loop's first port.
func (p plan) port() string {
	for i, flag := range p.flags {
		if i > 0 && p.flags[i-1] == "-listen" {
			_, port, _ := net.SplitHostPort(flag)
			return port
		}
	}
	return ""
}
