package outfit_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/catalog"
	"workspace-server/internal/files"
	"workspace-server/internal/outfit"
	"workspace-server/internal/secret"
	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/testkit"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// place is everything that a maker works with.
type place struct {
	t                         *testing.T
	store                     *store.Store
	vault                     *secret.Vault
	files                     files.Dir
	templates, plugins, state string
	outfit.Maker
}

func each(t *testing.T, fn func(t *testing.T, p *place)) {
	t.Helper()
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		p := &place{t: t, store: store.New(database.Migrated(t), func(int64) {}), state: t.TempDir(), templates: t.TempDir(), plugins: t.TempDir()}
		p.vault, p.files = secret.NewVault(p.state, p.store), files.New(p.state)
		if _, err := p.vault.Claim(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Maker = outfit.Maker{
			Templates: catalog.NewTemplates(p.templates), Files: p.files, Attached: p.store, Plugins: catalog.NewPlugins(p.plugins),
			Secrets: p.vault, Tokens: p.store, Platform: "http://127.0.0.1:1",
		}
		fn(t, p)
	})
}

func (p *place) write(path, text string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// claim returns the claim of a fresh workspace that is to be started.
func (p *place) claim(template string) workspace.Claim {
	p.t.Helper()
	w, err := workspace.New(workspace.Spec{Name: "a name", Template: template, Start: true}, time.Now())
	if err == nil {
		w, err = p.store.Create(p.t.Context(), w, workspace.Request{})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	claims, err := p.store.Claim(p.t.Context(), "test", time.Minute, 1)
	if err != nil || len(claims) != 1 || claims[0].ID != w.ID {
		p.t.Fatalf("Claim() = %+v, %v", claims, err)
	}
	return claims[0]
}

func (p *place) put(place secret.Place, value string) {
	p.t.Helper()
	if _, err := p.vault.Put(p.t.Context(), place, value); err != nil {
		p.t.Fatal(err)
	}
}

const template = "name: demo\ndescription: A demo.\nversion: 1.0.0\ntier: 3\nruntime: echo\nmodel: small\n" +
	"prompt_files: [prompts/system.md]\nenv:\n  required: [API_KEY]\n"

func TestOutfit(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		p.write(filepath.Join(p.templates, "demo", "config.yaml"), template)
		p.write(filepath.Join(p.templates, "demo", "prompts", "system.md"), "Be brief.\r\n")
		c := p.claim("demo")

		_, err := p.Outfit(t.Context(), c)
		if workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), "needs the secret API_KEY.") {
			t.Errorf("Outfit() without its secret = %v, want to be told which", err)
		}
		p.put(secret.Place{Name: "API_KEY"}, "for all")
		p.put(secret.Place{Name: "API_KEY", Workspace: c.ID}, "its own")

		spec, err := p.Outfit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		secretOf := token.Secret(spec.Env[outfit.EnvToken])
		delete(spec.Env, outfit.EnvToken)
		want := map[string]string{
			"API_KEY": "its own", outfit.EnvID: c.ID, outfit.EnvName: "a name", outfit.EnvGeneration: "1",
			outfit.EnvModel: "small", outfit.EnvRuntime: "echo", outfit.EnvPlatform: "http://127.0.0.1:1",
		}
		if !maps.Equal(spec.Env, want) || spec.Tier != 3 || spec.Generation != 1 || spec.Workspace != c.ID || len(spec.Plugins) != 0 {
			t.Errorf("Outfit() = %+v, want the environment %v", spec, want)
		}
		if text, err := os.ReadFile(filepath.Join(spec.Configs, "prompts", "system.md")); err != nil || string(text) != "Be brief.\r\n" {
			t.Errorf("its files have %q, %v, want the template's, unchanged", text, err)
		}
		known, err := p.store.Authenticate(t.Context(), secretOf.Hash())
		if err != nil || known.Role != token.Workspace || known.Workspace != c.ID {
			t.Errorf("its token is %+v, %v, want the workspace's", known, err)
		}

		// A second attempt leaves what the first may have started with.
		p.write(filepath.Join(spec.Configs, "prompts", "system.md"), "Edited.")
		again, err := p.Outfit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.store.Authenticate(t.Context(), secretOf.Hash()); err != nil {
			t.Errorf("after a second attempt the first token = %v, want it to be good", err)
		}
		if text, _ := os.ReadFile(filepath.Join(spec.Configs, "prompts", "system.md")); string(text) != "Edited." {
			t.Errorf("after a second attempt its files have %q, want what was written since", text)
		}
		// The next generation's token takes the place of all before.
		c.Generation = 2
		next, err := p.Outfit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"first": string(secretOf), "second": again.Env[outfit.EnvToken]} {
			if _, err := p.store.Authenticate(t.Context(), token.Secret(text).Hash()); workspace.KindOf(err) != workspace.Unauthorized {
				t.Errorf("after the next start the %s token = %v, want Unauthorized", name, err)
			}
		}
		if _, err := p.store.Authenticate(t.Context(), token.Secret(next.Env[outfit.EnvToken]).Hash()); err != nil {
			t.Errorf("the next token = %v", err)
		}

		for _, keep := range []bool{true, false} {
			err := p.Remove(t.Context(), c.ID, keep)
			if _, statErr := os.Stat(spec.Configs); err != nil || (statErr == nil) != keep {
				t.Errorf("Remove(keeping the data: %v) = %v; the files: %v", keep, err, statErr)
			}
		}
	})
}

// What has changed since it was attached, or is gone, is not run.
func TestOutfitRefuses(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		p.write(filepath.Join(p.templates, "broken", "config.yaml"), "name: broken\ncolour: red\n")
		p.write(filepath.Join(p.plugins, "notes", "plugin.yaml"), "name: notes\nversion: 1.0.0\ndescription: Notes.\nskills: [notes]\n")
		p.write(filepath.Join(p.plugins, "notes", "skills", "notes", "SKILL.md"), "Take notes.")
		for _, name := range []string{"broken", "none"} {
			if _, err := p.Outfit(t.Context(), p.claim(name)); workspace.KindOf(err) != workspace.Invalid {
				t.Errorf("Outfit() of the template %q = %v, want Invalid", name, err)
			}
		}
		c := p.claim("")
		plugin, err := catalog.NewPlugins(p.plugins).Get("notes")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.store.AttachPlugin(t.Context(), c.ID, "notes", plugin.Digest, nil); err != nil {
			t.Fatal(err)
		}
		spec, err := p.Outfit(t.Context(), c)
		if err != nil || !slices.Equal(slices.Collect(maps.Keys(spec.Plugins)), []string{"notes"}) || !filepath.IsAbs(spec.Plugins["notes"]) {
			t.Errorf("Outfit() = %+v, %v, want the plugin's directory", spec, err)
		}
		p.write(filepath.Join(p.plugins, "notes", "skills", "notes", "SKILL.md"), "Take other notes.")
		if _, err := p.Outfit(t.Context(), c); workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), "notes") {
			t.Errorf("Outfit() with another plugin than was attached = %v, want Conflict that names it", err)
		}
	})
}
