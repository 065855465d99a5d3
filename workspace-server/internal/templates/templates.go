// Package templates reads workspace templates from disk.
package templates

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"workspace-server/internal/catalog"
	"workspace-server/internal/workspace"
)

// file describes a template.
const file = "config.yaml"

// Dir is a directory with one directory for each template.
type Dir struct{ catalog.Dir }

// New returns the templates below path, which need not exist yet.
func New(path string) Dir { return Dir{catalog.New(path, "templates", "TEMPLATES_DIR")} }

// Template is one template, with what is wrong with it.
type Template struct {
	Name string `json:"name"`
	Config
	Errors []string `json:"errors"` // empty: the template can be used
}

// List returns all templates, in the order of their names. What is wrong with
// one is part of it. It fails with Unavailable.
func (d Dir) List() ([]Template, error) {
	all := []Template{}
	err := d.Each(func(name string, fsys fs.FS) { all = append(all, load(name, fsys)) })
	return all, err
}

// Use fails with Invalid when there is no template of that name, or when
// something is wrong with it, and with Unavailable.
func (d Dir) Use(name string) error {
	_, err := d.Get(name)
	return err
}

// Get returns a template that can be used. It fails as Use does.
func (d Dir) Get(name string) (Template, error) {
	if err := workspace.CheckTemplateName(name); err != nil {
		return Template{}, err
	}
	var t Template
	found, err := d.One(name, func(name string, fsys fs.FS) { t = load(name, fsys) })
	switch {
	case err != nil:
		return Template{}, err
	case !found:
		return Template{}, workspace.Errorf(workspace.Invalid, "There is no template %q.", name)
	case len(t.Errors) > 0:
		return Template{}, workspace.Errorf(workspace.Invalid, "The template %q cannot be used: %s", name, strings.Join(t.Errors, "; "))
	}
	return t, nil
}

// Files returns the directory of a template that can be used; what is in it is
// what a workspace begins with. It fails as Use does.
func (d Dir) Files(name string) (*os.Root, error) {
	if err := d.Use(name); err != nil {
		return nil, err
	}
	root, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, err := root.OpenRoot(name)
	if err != nil {
		return nil, workspace.Wrap(workspace.Unavailable, "The templates cannot be read at the moment.", err)
	}
	return files, nil
}

// load reads the template in the directory name.
func load(name string, fsys fs.FS) (t Template) {
	t = Template{Name: name, Errors: []string{}}
	defer func() { t.fill() }()
	if err := workspace.CheckTemplateName(name); err != nil {
		t.Errors = append(t.Errors, workspace.Message(err))
	}
	text, err := catalog.Read(fsys, file)
	if err != nil {
		t.Errors = append(t.Errors, err.Error())
		return t
	}
	config, problems := Parse(text, name)
	t.Config = config
	t.Errors = append(t.Errors, problems...)
	for _, prompt := range config.PromptFiles {
		if !catalog.IsFile(fsys, prompt) {
			t.Errors = append(t.Errors, fmt.Sprintf("prompt_files: %q is not a file of the template", prompt))
		}
	}
	return t
}
