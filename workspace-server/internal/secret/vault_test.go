package secret_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/secret"
	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/testkit"
	"workspace-server/internal/workspace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type fixture struct {
	*secret.Vault
	store *store.Store
	dir   string
	id    string // of a workspace
}

// each runs fn with a vault that has claimed its database, fresh before that.
func each(t *testing.T, fn func(t *testing.T, f fixture)) {
	fresh(t, func(t *testing.T, f fixture) {
		if c, err := f.Claim(t.Context()); err != nil || !c.Made || c.Path != filepath.Join(f.dir, secret.KeyFile) {
			t.Fatalf("Claim() = %+v, %v, want a new key", c, err)
		}
		fn(t, f)
	})
}

func fresh(t *testing.T, fn func(t *testing.T, f fixture)) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		w, err := workspace.New(workspace.Spec{Name: "w"}, time.Now())
		if err == nil {
			w, err = s.Create(t.Context(), w, workspace.Request{})
		}
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{store: s, dir: t.TempDir(), id: w.ID}
		f.Vault = secret.NewVault(f.dir, s)
		fn(t, f)
	})
}

func (f fixture) put(t *testing.T, id, name, value string, fresh bool) {
	t.Helper()
	got, err := f.Put(t.Context(), secret.Place{Workspace: id, Name: name}, value)
	if err != nil || got != fresh {
		t.Errorf("Put(%s, %s) = %v, %v, want %v", id, name, got, err, fresh)
	}
}

func (f fixture) want(t *testing.T, want map[string]string) {
	t.Helper()
	got, err := f.Values(t.Context(), f.id)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("Values() = %v, %v, want %v", got, err, want)
	}
}

func TestVault(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		f.want(t, nil)
		f.put(t, "", "A", "for all", true)
		f.put(t, "", "B", "for all", true)
		f.put(t, f.id, "B", "its own", true)
		f.put(t, f.id, "C", "", true)
		f.put(t, f.id, "C", "changed", false)
		f.want(t, map[string]string{"A": "for all", "B": "its own", "C": "changed"})
		if c, err := f.Claim(ctx); err != nil || c.Made {
			t.Errorf("Claim() again = %+v, %v, want the same key", c, err)
		}
		list, err := f.List(ctx, f.id)
		if err != nil || len(list) != 2 || list[0].Name != "B" || list[1].Name != "C" || list[0].Created == 0 {
			t.Errorf("List() = %+v, %v, want B and C", list, err)
		}
		at := secret.Place{Workspace: f.id, Name: "B"}
		if err := f.Delete(ctx, at); err != nil {
			t.Error(err)
		}
		f.want(t, map[string]string{"A": "for all", "B": "for all", "C": "changed"})
		for call, err := range map[string]error{
			"Delete again":    f.Delete(ctx, at),
			"List of nothing": second(f.List(ctx, "ws_none")),
			"Put to nothing":  second(f.Put(ctx, secret.Place{Workspace: "ws_none", Name: "A"}, "x")),
		} {
			if workspace.KindOf(err) != workspace.NotFound {
				t.Errorf("%s = %v, want NotFound", call, err)
			}
		}
		for i := range secret.MaxSecrets - 1 {
			f.put(t, f.id, fmt.Sprintf("N%d", i), "x", true)
		}
		if _, err := f.Put(ctx, secret.Place{Workspace: f.id, Name: "MORE"}, "x"); workspace.KindOf(err) != workspace.Conflict {
			t.Errorf("Put of one too many = %v, want Conflict", err)
		}
		f.put(t, f.id, "C", "changes all the same", false)
		if err := f.store.Delete(ctx, f.id, workspace.Refuse, false, nil); err != nil {
			t.Fatal(err)
		}
		f.want(t, map[string]string{"A": "for all", "B": "for all"})
	})
}

func second[T any](_ T, err error) error { return err }

// A value is nowhere to be read but through its key, not even in an error.
func TestLostKey(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		f.put(t, f.id, "A", "hunter2", true)
		path := filepath.Join(f.dir, secret.KeyFile)
		for _, lose := range []func() error{
			func() error { return os.Remove(path) },
			func() error { return os.WriteFile(path, secret.Keyring{secret.NewKey()}.Text(), 0o600) },
			func() error { return os.WriteFile(path, []byte("junk\n"), 0o600) },
			func() error { return os.Chmod(path, 0o644) },
		} {
			if err := lose(); err != nil {
				t.Fatal(err)
			}
			got, err := f.Values(t.Context(), f.id)
			if err == nil || len(got) > 0 || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Values() without the key = %v, %v, want an error", got, err)
			}
			if n, err := f.Rotate(t.Context()); err == nil {
				t.Errorf("Rotate() without the key = %d, want an error", n)
			}
		}
	})
}

func TestRotate(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		f.put(t, "", "A", "one", true)
		f.put(t, f.id, "B", "two", true)
		path := filepath.Join(f.dir, secret.KeyFile)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.Rotate(t.Context()); err != nil || n != 2 {
			t.Errorf("Rotate() = %d, %v, want 2", n, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || len(after) != len(before) || string(after) == string(before) {
			t.Errorf("after a rotation the file has %d bytes, %v, want one other key", len(after), err)
		}
		f.want(t, map[string]string{"A": "one", "B": "two"})
		all, err := f.store.SealedSecrets(t.Context(), f.id)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := secret.ParseKeyring(after)
		for p, s := range all {
			if err != nil || s.Key != keys[0].ID() {
				t.Errorf("%v is sealed with %s, %v, want the new key", p, s.Key, err)
			}
		}
	})
}

// crash is a database whose transaction is lost once the file is written.
type crash struct {
	secret.Store
	after int // the call of Reseal that fails
	calls int
}

var errCrash = errors.New("crash")

func (c *crash) Reseal(ctx context.Context, seal func(map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error)) error {
	c.calls++
	return c.Store.Reseal(ctx, func(all map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error) {
		changed, err := seal(all)
		if c.calls == c.after {
			err = errCrash
		}
		return changed, err
	})
}

// Whatever a rotation is interrupted at, all can be opened, and the next one
// tidies up.
func TestRotateCrashes(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		f.put(t, f.id, "A", "one", true)
		for after := 1; after <= 2; after++ {
			broken := secret.NewVault(f.dir, &crash{Store: f.store, after: after})
			if _, err := broken.Rotate(t.Context()); !errors.Is(err, errCrash) {
				t.Fatalf("Rotate() with a crash = %v, want it told", err)
			}
			f.want(t, map[string]string{"A": "one"})
			f.put(t, f.id, "A", "one", false)
		}
		if n, err := f.Rotate(t.Context()); err != nil || n != 1 {
			t.Errorf("Rotate() = %d, %v, want 1", n, err)
		}
		f.want(t, map[string]string{"A": "one"})
		text, err := os.ReadFile(filepath.Join(f.dir, secret.KeyFile))
		if keys, parseErr := secret.ParseKeyring(text); err != nil || parseErr != nil || len(keys) != 1 {
			t.Errorf("there are %d keys, %v, %v, want one", len(keys), err, parseErr)
		}
	})
}

// Rotations and writes of several servers lose nothing.
func TestRotateAtOnce(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		want := map[string]string{}
		var wg sync.WaitGroup
		for server := range 3 {
			other := secret.NewVault(f.dir, f.store)
			for i := range 5 {
				want[fmt.Sprintf("S%d_%d", server, i)] = fmt.Sprint(i)
			}
			wg.Go(func() {
				for i := range 5 {
					if _, err := other.Put(t.Context(), secret.Place{Workspace: f.id, Name: fmt.Sprintf("S%d_%d", server, i)}, fmt.Sprint(i)); err != nil {
						t.Errorf("Put = %v", err)
					}
				}
			})
			wg.Go(func() {
				for range 3 {
					if _, err := other.Rotate(t.Context()); err != nil {
						t.Errorf("Rotate = %v", err)
					}
				}
			})
		}
		wg.Wait()
		f.want(t, want)
	})
}
