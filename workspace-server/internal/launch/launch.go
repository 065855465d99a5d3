// Package launch gets everything ready that an instance of a workspace needs:
// its files and plugins, its secrets, and a token to call the server with.
package launch

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/templates"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// Names of the variables that every agent gets. No secret takes their place.
const (
	EnvID         = "WORKSPACE_ID"
	EnvName       = "WORKSPACE_NAME"
	EnvGeneration = "WORKSPACE_GENERATION" // to be sent along with all that it says of itself
	EnvToken      = "WORKSPACE_TOKEN"
	EnvModel      = "WORKSPACE_MODEL"
	EnvRuntime    = "WORKSPACE_RUNTIME"
	EnvPlatform   = "PLATFORM_URL"
)

// defaultTier is that of a workspace without a template.
const defaultTier = 1

// Launcher knows where things are.
type Launcher struct {
	Templates interface {
		// Get fails as templates.Dir.Use does.
		Get(name string) (templates.Template, error)
		Files(name string) (*os.Root, error)
	}
	Files interface {
		Make(id string) (string, error)
		Seed(id string, template fs.FS) error
		Remove(id string) error
	}
	Attached interface {
		Plugins(ctx context.Context, id string) ([]workspace.Attachment, error)
	}
	Plugins interface {
		// Resolve returns the directories of plugins by their names. It fails
		// with Conflict if one is not what was attached.
		Resolve(attached []workspace.Attachment) (map[string]string, error)
	}
	Secrets interface {
		Values(ctx context.Context, id string) (map[string]string, error)
	}
	Tokens interface {
		// CreateAgentToken stores a token of one generation of a workspace, and
		// deletes those of earlier ones.
		CreateAgentToken(ctx context.Context, t token.Token, hash string, generation int64) error
	}
	Platform string // the URL where agents reach the server
}

// Outfit implements reconcile.Outfitter.
func (l Launcher) Outfit(ctx context.Context, c workspace.Claim) (provision.Spec, error) {
	spec := provision.Spec{Workspace: c.ID, Generation: c.Generation, Tier: defaultTier, Env: map[string]string{}}
	secrets, err := l.Secrets.Values(ctx, c.ID)
	if err != nil {
		return spec, err
	}
	maps.Copy(spec.Env, secrets)
	if spec.Configs, err = l.Files.Make(c.ID); err != nil {
		return spec, err
	}
	if c.Template != "" {
		if err := l.apply(&spec, c, secrets); err != nil {
			return spec, err
		}
	}
	attached, err := l.Attached.Plugins(ctx, c.ID)
	if err != nil {
		return spec, err
	}
	if spec.Plugins, err = l.Plugins.Resolve(attached); err != nil {
		return spec, err
	}
	// The token is stored before there is anybody who could use it.
	secret := token.NewSecret()
	t, err := token.New(token.Spec{
		Name: fmt.Sprintf("agent, generation %d", c.Generation), Role: token.Workspace, Workspace: c.ID,
	}, secret, time.Now())
	if err != nil {
		return spec, err
	}
	if err := l.Tokens.CreateAgentToken(ctx, t, secret.Hash(), c.Generation); err != nil {
		return spec, err
	}
	maps.Copy(spec.Env, map[string]string{
		EnvID: c.ID, EnvName: c.Name, EnvGeneration: strconv.FormatInt(c.Generation, 10),
		EnvToken: string(secret), EnvPlatform: l.Platform,
	})
	return spec, nil
}

// apply makes of a spec what the workspace's template says.
func (l Launcher) apply(spec *provision.Spec, c workspace.Claim, secrets map[string]string) error {
	t, err := l.Templates.Get(c.Template)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range t.Env.Required {
		if secrets[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return workspace.Errorf(workspace.Conflict, "The template %q needs secrets that are not there: %s. Set them, for this workspace or for all.",
			t.Name, strings.Join(missing, ", "))
	}
	root, err := l.Templates.Files(c.Template)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := l.Files.Seed(c.ID, root.FS()); err != nil {
		return err
	}
	spec.Tier = t.Tier
	spec.Env[EnvModel], spec.Env[EnvRuntime] = t.Model, t.Runtime
	return nil
}

// Remove implements reconcile.Outfitter.
func (l Launcher) Remove(_ context.Context, id string, keepData bool) error {
	if keepData {
		return nil
	}
	return l.Files.Remove(id)
}
