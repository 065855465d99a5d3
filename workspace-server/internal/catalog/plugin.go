package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"

	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

// pluginFile describes a plugin.
const pluginFile = "plugin.yaml"

// Plugins are directories of skills. A digest says what is in one, so that a
// workspace gets what was attached to it and nothing else.
type Plugins struct{ Directory[Plugin] }

// NewPlugins returns the plugins below path, which need not exist yet.
func NewPlugins(path string) Plugins {
	return Plugins{Directory[Plugin]{path, kind{"plugin", "PLUGINS_DIR", workspace.NotFound}, loadPlugin}}
}

// Manifest is what a plugin's plugin.yaml says, except its name.
type Manifest struct {
	Version     string   `json:"version"     yaml:"version"`
	Description string   `json:"description" yaml:"description"`
	Author      string   `json:"author"      yaml:"author"`
	Tags        []string `json:"tags"        yaml:"tags"`
	Skills      []string `json:"skills"      yaml:"skills"`   // each has a skills/<name>/SKILL.md
	Runtimes    []string `json:"runtimes"    yaml:"runtimes"` // that it works with; none: all
}

// Plugin is one plugin, with its problems.
type Plugin struct {
	Name string `json:"name"`
	Manifest
	Digest string   `json:"digest"` // of all its files; empty if they cannot be read
	Errors []string `json:"errors"` // empty: the plugin can be attached
}

func (p Plugin) problems() []string { return p.Errors }

// Resolve returns the directories of attached plugins by name. It fails with
// Conflict when a plugin is gone or differs from the one that was attached, with
// Invalid when it has problems, and with Unavailable.
func (d Plugins) Resolve(attached []workspace.Attachment) (map[string]string, error) {
	base, err := filepath.Abs(d.path)
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for _, a := range attached {
		p, err := d.Get(a.Name)
		switch {
		case workspace.KindOf(err) == workspace.NotFound:
			return nil, workspace.Errorf(workspace.Conflict, "The attached plugin %q is gone. Put it back, or detach it.", a.Name)
		case err != nil:
			return nil, err
		case p.Digest != a.Digest:
			return nil, workspace.Errorf(workspace.Conflict,
				"The plugin %q has changed since it was attached, from %s to %s. Attach it again to accept the change.", a.Name, a.Digest, p.Digest)
		}
		dirs[a.Name] = filepath.Join(base, a.Name)
	}
	return dirs, nil
}

// parseManifest reads the plugin.yaml of the plugin in the directory name. It
// returns all problems; an unknown key is one.
func parseManifest(text []byte, name string) (Manifest, []string) {
	var content struct {
		Name     string `yaml:"name"`
		Manifest `yaml:",inline"`
	}
	if wrong := decode(text, pluginFile, &content); wrong != nil {
		return Manifest{}, wrong
	}
	m := content.Manifest
	var wrong []string
	if content.Name != name {
		wrong = append(wrong, fmt.Sprintf("name: %q is not %q, the name of the plugin's directory", content.Name, name))
	}
	if m.Version == "" {
		wrong = append(wrong, "version is required")
	}
	if m.Description == "" {
		wrong = append(wrong, "description is required")
	}
	return m, wrong
}

// loadPlugin reads the plugin in the directory name.
func loadPlugin(name string, fsys fs.FS) (p Plugin) {
	p = Plugin{Name: name, Errors: []string{}}
	// JSON shows a missing list as an empty one.
	defer func() {
		for _, list := range []*[]string{&p.Tags, &p.Skills, &p.Runtimes} {
			if *list == nil {
				*list = []string{}
			}
		}
	}()
	if err := workspace.CheckPluginName(name); err != nil {
		p.Errors = append(p.Errors, workspace.Message(err))
	}
	files, err := tree.Read(fsys)
	if err != nil {
		p.Errors = append(p.Errors, workspace.Message(err))
	} else {
		p.Digest = digest(files)
	}
	text, err := readText(fsys, pluginFile)
	if err != nil {
		p.Errors = append(p.Errors, err.Error())
		return p
	}
	var problems []string
	p.Manifest, problems = parseManifest(text, name)
	p.Errors = append(p.Errors, problems...)
	for _, skill := range p.Skills {
		if name := "skills/" + skill + "/SKILL.md"; !isFile(fsys, name) {
			p.Errors = append(p.Errors, fmt.Sprintf("skills: %q has no file %s", skill, name))
		}
	}
	return p
}

// digest tells directories apart by their files' paths, contents and executable
// bits. Lengths keep two directories from being written alike. The rest of the
// mode is left out: it depends on how the directory was checked out or copied.
func digest(files []tree.File) string {
	sum := sha256.New()
	for _, f := range files {
		mode := "file"
		if f.Executable {
			mode = "executable"
		}
		fmt.Fprintf(sum, "%s %d %s %d\n", mode, len(f.Path), f.Path, len(f.Body))
		sum.Write(f.Body)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}
