package process

import (
	"os"
	"path/filepath"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// plan is what a keeper does. The driver sends it to the keeper's standard input,
// since it holds secrets, which must be neither in arguments nor in a file.
type plan struct {
	Dir    string      `json:"dir"`  // of the generation
	Home   string      `json:"home"` // of the agent
	Env    []string    `json:"env"`  // of the agent
	Record startRecord `json:"record"`

	links map[string]string // the plugins' directories, by their links' paths
}

// makePlan says what to start, all but the address. It changes nothing.
func makePlan(place string, spec provision.Spec, now time.Time) (plan, error) {
	p := plan{
		Dir:    generationDir(place, spec.Generation),
		Home:   filepath.Join(place, homeDir),
		Record: startRecord{Generation: spec.Generation, Started: now},
		links:  map[string]string{},
	}
	for name, dir := range spec.Plugins {
		if !plain(name) {
			return plan{}, workspace.Errorf(workspace.Invalid, "A plugin cannot have the name %q.", name)
		}
		target, err := filepath.Abs(dir)
		if err != nil {
			return plan{}, err
		}
		p.links[filepath.Join(p.Dir, pluginsDir, name)] = target
	}
	configs, err := filepath.Abs(spec.Configs)
	if err != nil {
		return plan{}, err
	}
	// Of the server's own environment, an agent gets only PATH.
	p.Env, err = provision.Environment(
		map[string]string{"PATH": os.Getenv("PATH"), "HOME": p.Home},
		spec.Env,
		map[string]string{
			provision.EnvConfigs: configs,
			provision.EnvPlugins: filepath.Join(p.Dir, pluginsDir),
			"LISTEN_FDS":         "1",
		},
	)
	return p, err
}
