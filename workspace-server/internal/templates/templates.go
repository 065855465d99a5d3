// Package templates reads workspace templates from disk. Nothing is kept in
// memory, so an edit counts from the next request on.
package templates

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"workspace-server/internal/workspace"
)

// Limits of what is read.
const (
	maxConfig    = 256 << 10
	maxTemplates = 1000
)

// Dir is a directory with one directory for each template.
type Dir struct {
	path string
}

// New returns the templates below path, which need not exist yet.
func New(path string) Dir { return Dir{path} }

// Check reports whether the templates can be read at all.
func (d Dir) Check() error {
	root, err := d.open()
	if err != nil {
		return err
	}
	return root.Close()
}

func (d Dir) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, workspace.Wrap(workspace.Unavailable,
			"The templates cannot be read at the moment.", fmt.Errorf("TEMPLATES_DIR: %w", err))
	}
	return root, nil
}

// Template is one template, with what is wrong with it.
type Template struct {
	Name string `json:"name"`
	Config
	Errors []string `json:"errors"` // empty: the template can be used
}

// List returns all templates, in the order of their names. What is wrong with
// one is part of it. It fails with Unavailable.
func (d Dir) List() ([]Template, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, workspace.Wrap(workspace.Unavailable, "The templates cannot be read at the moment.", err)
	}
	all := []Template{}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if len(all) == maxTemplates {
			break
		}
		all = append(all, load(root.FS(), entry.Name()))
	}
	return all, nil
}

// Use fails with Invalid when there is no template of that name, or when
// something is wrong with it, and with Unavailable.
func (d Dir) Use(name string) error {
	if err := workspace.CheckTemplateName(name); err != nil {
		return err
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close()
	if info, err := root.Stat(name); err != nil || !info.IsDir() {
		return workspace.Errorf(workspace.Invalid, "There is no template %q.", name)
	}
	if t := load(root.FS(), name); len(t.Errors) > 0 {
		return workspace.Errorf(workspace.Invalid, "The template %q cannot be used: %s", name, strings.Join(t.Errors, "; "))
	}
	return nil
}

// load reads the template in the directory name.
func load(fsys fs.FS, name string) (t Template) {
	t = Template{Name: name, Errors: []string{}}
	// A list that is not given is shown as an empty one.
	defer func() {
		for _, list := range []*[]string{&t.PromptFiles, &t.Skills, &t.Tools, &t.Env.Required, &t.Env.Optional} {
			if *list == nil {
				*list = []string{}
			}
		}
	}()
	if err := workspace.CheckTemplateName(name); err != nil {
		t.Errors = append(t.Errors, workspace.Message(err))
	}
	text, err := readConfig(fsys, name+"/config.yaml")
	if err != nil {
		t.Errors = append(t.Errors, err.Error())
		return t
	}
	sub, err := fs.Sub(fsys, name)
	if err != nil {
		t.Errors = append(t.Errors, err.Error())
		return t
	}
	config, problems := Parse(text, name)
	t.Config = config
	t.Errors = append(t.Errors, problems...)
	for _, file := range config.PromptFiles {
		if info, err := fs.Stat(sub, file); err != nil || !info.Mode().IsRegular() {
			t.Errors = append(t.Errors, fmt.Sprintf("prompt_files: %q is not a file of the template", file))
		}
	}
	return t
}

// readConfig's errors are shown to clients, so they name no path of the server.
func readConfig(fsys fs.FS, path string) ([]byte, error) {
	file, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("config.yaml is missing")
	}
	if err != nil {
		return nil, errors.New("config.yaml cannot be opened")
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	switch {
	case err != nil:
		return nil, errors.New("config.yaml cannot be read")
	case len(text) > maxConfig:
		return nil, fmt.Errorf("config.yaml is larger than %d KiB", maxConfig>>10)
	}
	return text, nil
}
