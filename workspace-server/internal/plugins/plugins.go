// Package plugins reads plugins from disk, and says what is in one by a digest,
// so that a workspace gets what was attached to it and nothing else.
package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"workspace-server/internal/catalog"
	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

// file describes a plugin.
const file = "plugin.yaml"

// Dir is a directory with one directory for each plugin.
type Dir struct{ catalog.Dir }

// New returns the plugins below path, which need not exist yet.
func New(path string) Dir { return Dir{catalog.New(path, "plugins", "PLUGINS_DIR")} }

// Manifest is what a plugin's plugin.yaml says, except for its name.
type Manifest struct {
	Version     string   `json:"version"     yaml:"version"`
	Description string   `json:"description" yaml:"description"`
	Author      string   `json:"author"      yaml:"author"`
	Tags        []string `json:"tags"        yaml:"tags"`
	Skills      []string `json:"skills"      yaml:"skills"`   // each has a skills/<name>/SKILL.md
	Runtimes    []string `json:"runtimes"    yaml:"runtimes"` // those that it is for; none: all
}

// Plugin is one plugin, with what is wrong with it.
type Plugin struct {
	Name string `json:"name"`
	Manifest
	Digest string   `json:"digest"` // of all that is in it; empty if that cannot be read
	Errors []string `json:"errors"` // empty: the plugin can be attached
}

// List returns all plugins, in the order of their names. What is wrong with one
// is part of it. It fails with Unavailable.
func (d Dir) List() ([]Plugin, error) {
	all := []Plugin{}
	err := d.Each(func(name string, fsys fs.FS) { all = append(all, load(name, fsys)) })
	return all, err
}

// Get returns a plugin that can be attached. It fails with NotFound, with
// Invalid when something is wrong with the plugin, and with Unavailable.
func (d Dir) Get(name string) (Plugin, error) {
	if err := workspace.CheckPluginName(name); err != nil {
		return Plugin{}, workspace.Errorf(workspace.NotFound, "There is no plugin %.80q.", name)
	}
	var p Plugin
	found, err := d.One(name, func(name string, fsys fs.FS) { p = load(name, fsys) })
	switch {
	case err != nil:
		return Plugin{}, err
	case !found:
		return Plugin{}, workspace.Errorf(workspace.NotFound, "There is no plugin %q.", name)
	case len(p.Errors) > 0:
		return Plugin{}, workspace.Errorf(workspace.Invalid, "The plugin %q cannot be used: %s", name, strings.Join(p.Errors, "; "))
	}
	return p, nil
}

// Resolve returns the directories of the plugins of a workspace, by name. It
// fails with Conflict when one is not what was attached any more, with Invalid
// when something is wrong with it, and with Unavailable.
func (d Dir) Resolve(attached []workspace.Attachment) (map[string]string, error) {
	base, err := filepath.Abs(d.Path())
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for _, a := range attached {
		p, err := d.Get(a.Name)
		switch {
		case workspace.KindOf(err) == workspace.NotFound:
			return nil, workspace.Errorf(workspace.Conflict, "The plugin %q is attached, and is not there any more. Put it back, or detach it.", a.Name)
		case err != nil:
			return nil, err
		case p.Digest != a.Digest:
			return nil, workspace.Errorf(workspace.Conflict,
				"The plugin %q changed since it was attached: it was %s, and is %s. Attach it again to accept that.", a.Name, a.Digest, p.Digest)
		}
		dirs[a.Name] = filepath.Join(base, a.Name)
	}
	return dirs, nil
}

// Parse reads the text of the plugin.yaml of the plugin in the directory name.
// It returns all that is wrong; a key that is not known is.
func Parse(text []byte, name string) (Manifest, []string) {
	var content struct {
		Name     string `yaml:"name"`
		Manifest `yaml:",inline"`
	}
	if wrong := catalog.Decode(text, file, &content); wrong != nil {
		return Manifest{}, wrong
	}
	m := content.Manifest
	var wrong []string
	if content.Name != name {
		wrong = append(wrong, fmt.Sprintf("name: %q is not the name of the plugin's directory, %q", content.Name, name))
	}
	if m.Version == "" {
		wrong = append(wrong, "version is required")
	}
	if m.Description == "" {
		wrong = append(wrong, "description is required")
	}
	return m, wrong
}

// load reads the plugin in the directory name.
func load(name string, fsys fs.FS) (p Plugin) {
	p = Plugin{Name: name, Errors: []string{}}
	// A list that is not given is shown as an empty one.
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
	text, err := catalog.Read(fsys, file)
	if err != nil {
		p.Errors = append(p.Errors, err.Error())
		return p
	}
	var problems []string
	p.Manifest, problems = Parse(text, name)
	p.Errors = append(p.Errors, problems...)
	for _, skill := range p.Skills {
		if name := "skills/" + skill + "/SKILL.md"; !catalog.IsFile(fsys, name) {
			p.Errors = append(p.Errors, fmt.Sprintf("skills: %q has no file %s", skill, name))
		}
	}
	return p
}

// digest tells directories apart by the paths of their files, whether these are
// executable, and what is in them. Each comes with its length, so that no two
// directories are written alike. More of the mode would depend on how the
// directory was checked out or copied.
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
