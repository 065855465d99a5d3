// Package outfit prepares what an instance of a workspace needs before it
// starts: files, plugins, secrets, and a token to call the server with.
package outfit

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/catalog"
	"workspace-server/internal/provision"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// Names of the variables that every agent gets. No secret can replace them.
const (
	EnvID         = "WORKSPACE_ID"
	EnvName       = "WORKSPACE_NAME"
	EnvGeneration = "WORKSPACE_GENERATION" // the agent sends it with each report about itself
	EnvToken      = "WORKSPACE_TOKEN"
	EnvModel      = "WORKSPACE_MODEL"
	EnvRuntime    = "WORKSPACE_RUNTIME"
	EnvPlatform   = "PLATFORM_URL"
)

// defaultTier is the tier of a workspace without a template.
const defaultTier = 1

// A Maker makes outfits from what other packages store.
type Maker struct {
	Templates interface {
		// Get returns a usable template. It fails with Invalid and Unavailable.
		Get(name string) (catalog.Template, error)
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
		// Resolve returns the plugins' directories by name. It fails with
		// Conflict if a plugin is not the one that was attached.
		Resolve(attached []workspace.Attachment) (map[string]string, error)
	}
	Secrets interface {
		Values(ctx context.Context, id string) (map[string]string, error)
	}
	Tokens interface {
		// CreateAgentToken stores a token for one generation of a workspace, and
		// deletes the tokens of earlier generations.
		CreateAgentToken(ctx context.Context, t token.Token, hash string, generation int64) error
	}
	Platform string // the URL where agents reach the server
}

// Outfit implements reconcile.Outfitter.
func (m Maker) Outfit(ctx context.Context, c workspace.Claim) (provision.Spec, error) {
	spec := provision.Spec{Workspace: c.ID, Generation: c.Generation, Tier: defaultTier, Env: map[string]string{}}
	secrets, err := m.Secrets.Values(ctx, c.ID)
	if err != nil {
		return spec, err
	}
	maps.Copy(spec.Env, secrets)
	if spec.Configs, err = m.Files.Make(c.ID); err != nil {
		return spec, err
	}
	if c.Template != "" {
		if err := m.apply(&spec, c, secrets); err != nil {
			return spec, err
		}
	}
	attached, err := m.Attached.Plugins(ctx, c.ID)
	if err != nil {
		return spec, err
	}
	if spec.Plugins, err = m.Plugins.Resolve(attached); err != nil {
		return spec, err
	}
	// The token is stored before the agent that uses it exists.
	secret := token.NewSecret()
	t, err := token.New(token.Spec{
		Name: fmt.Sprintf("agent, generation %d", c.Generation), Role: token.Workspace, Workspace: c.ID,
	}, secret, time.Now())
	if err != nil {
		return spec, err
	}
	if err := m.Tokens.CreateAgentToken(ctx, t, secret.Hash(), c.Generation); err != nil {
		return spec, err
	}
	maps.Copy(spec.Env, map[string]string{
		EnvID: c.ID, EnvName: c.Name, EnvGeneration: strconv.FormatInt(c.Generation, 10),
		EnvToken: string(secret), EnvPlatform: m.Platform,
	})
	return spec, nil
}

// apply adds to spec what the workspace's template says, and copies the
// template's files.
func (m Maker) apply(spec *provision.Spec, c workspace.Claim, secrets map[string]string) error {
	t, err := m.Templates.Get(c.Template)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range t.Env.Required {
		if secrets[name] == "" {
			missing = append(missing, name)
		}
	}
	switch len(missing) {
	case 0:
	case 1:
		return workspace.Errorf(workspace.Conflict, "The template %q needs the secret %s. Set it for this workspace or for all.", t.Name, missing[0])
	default:
		return workspace.Errorf(workspace.Conflict, "The template %q needs the secrets %s. Set them for this workspace or for all.",
			t.Name, strings.Join(missing, ", "))
	}
	root, err := m.Templates.Files(c.Template)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := m.Files.Seed(c.ID, root.FS()); err != nil {
		return err
	}
	spec.Tier = int(t.Tier)
	spec.Env[EnvModel], spec.Env[EnvRuntime] = t.Model, t.Runtime
	return nil
}

// Remove implements reconcile.Outfitter.
func (m Maker) Remove(_ context.Context, id string, keepData bool) error {
	if keepData {
		return nil
	}
	return m.Files.Remove(id)
}
