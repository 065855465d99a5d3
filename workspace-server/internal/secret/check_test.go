package secret_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"workspace-server/internal/secret"
	"workspace-server/internal/workspace"
)

// withoutCheck is the database of a server that knows no key check.
type withoutCheck struct{ secret.Store }

func (s withoutCheck) PutSecret(ctx context.Context, p secret.Place, seal func(*secret.Sealed) (secret.Sealed, error)) (bool, error) {
	return s.Store.PutSecret(ctx, p, func(*secret.Sealed) (secret.Sealed, error) { return seal(nil) })
}

func (s withoutCheck) Reseal(ctx context.Context, seal func(map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error)) error {
	return s.Store.Reseal(ctx, func(all map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error) {
		delete(all, secret.Place{})
		return seal(all)
	})
}

func isForeign(err error) bool {
	_, foreign := errors.AsType[*secret.ForeignKeyError](err)
	return foreign
}

// An installation is a server's keys, of this version and of one before.
type installation struct {
	dir         string
	now, before *secret.Vault
}

func (f fixture) installation(dir string) installation {
	return installation{dir, secret.NewVault(dir, f.store), secret.NewVault(dir, withoutCheck{f.store})}
}

func (i installation) init(t *testing.T) {
	t.Helper()
	if made, err := i.before.Init(); err != nil || !made {
		t.Fatalf("Init() = %v, %v, want a new key", made, err)
	}
}

// TestClaim tells the servers that belong to a database from those that do not.
func TestClaim(t *testing.T) {
	put := func(t *testing.T, v *secret.Vault, name string) {
		t.Helper()
		if _, err := v.Put(t.Context(), secret.Place{Name: name}, name); err != nil {
			t.Fatal(err)
		}
	}
	rotate := func(t *testing.T, v *secret.Vault) {
		t.Helper()
		if _, err := v.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(t *testing.T, i installation) {
		t.Helper()
		if c, err := i.now.Claim(t.Context()); err != nil {
			t.Fatalf("Claim() = %+v, %v", c, err)
		}
	}
	tests := []struct {
		name    string
		before  func(t *testing.T, own, other installation) // on an empty database
		foreign bool                                        // what own.Claim says then
		lost    int
		key     bool // whether there is a key file afterwards
	}{
		{"empty", func(t *testing.T, own, other installation) {}, false, 0, true},
		{"empty, with keys of before", func(t *testing.T, own, other installation) { own.init(t) }, false, 0, true},
		{"again", func(t *testing.T, own, other installation) { claim(t, own) }, false, 0, true},
		{"rotated", func(t *testing.T, own, other installation) { claim(t, own); rotate(t, own.now) }, false, 0, true},
		{"another's, empty", func(t *testing.T, own, other installation) { claim(t, other); own.init(t) }, true, 0, true},
		{"another's, empty, no key", func(t *testing.T, own, other installation) { claim(t, other) }, false, 0, false},
		{"another's", func(t *testing.T, own, other installation) { claim(t, other); put(t, other.now, "A"); own.init(t) }, true, 0, true},
		{"another's, rotated", func(t *testing.T, own, other installation) {
			claim(t, other)
			put(t, other.now, "A")
			rotate(t, other.now)
			own.init(t)
		}, true, 0, true},
		{"of an older version", func(t *testing.T, own, other installation) { own.init(t); put(t, own.before, "A") }, false, 0, true},
		{"another's, of an older version", func(t *testing.T, own, other installation) {
			other.init(t)
			put(t, other.before, "A")
			own.init(t)
		}, true, 0, true},
		{"another's, of an older version, no key", func(t *testing.T, own, other installation) {
			other.init(t)
			put(t, other.before, "A")
		}, false, 0, false},
		{"of an older version that two have used", func(t *testing.T, own, other installation) {
			own.init(t)
			put(t, own.before, "A")
			other.init(t)
			put(t, other.before, "B")
		}, false, 1, true},
		{"rotated by an older version", func(t *testing.T, own, other installation) {
			claim(t, own)
			put(t, own.now, "A")
			rotate(t, own.before)
		}, false, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fresh(t, func(t *testing.T, f fixture) {
				own, other := f.installation(t.TempDir()), f.installation(t.TempDir())
				lost := tt.lost
				tt.before(t, own, other)
				for range 2 { // the second finds the first one's check
					c, err := own.now.Claim(t.Context())
					if isForeign(err) != tt.foreign || tt.key && !tt.foreign && err != nil || !tt.foreign && c.Lost != lost {
						t.Fatalf("Claim() = %+v, %v, want foreign %v and %d lost", c, err, tt.foreign, lost)
					}
					if _, statErr := os.Stat(filepath.Join(own.dir, secret.KeyFile)); (statErr == nil) != tt.key || tt.key != (err == nil || isForeign(err)) {
						t.Errorf("Claim() = %v, the key file: %v, want a file %v", err, statErr, tt.key)
					}
					lost = 0
				}
				if tt.foreign {
					if c, err := own.now.Adopt(t.Context()); err != nil {
						t.Errorf("Adopt() = %+v, %v", c, err)
					}
					if c, err := own.now.Claim(t.Context()); err != nil {
						t.Errorf("Claim() after Adopt() = %+v, %v", c, err)
					}
				}
			})
		})
	}
}

// TestForeignPut: a server whose key file was replaced stores nothing.
func TestForeignPut(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		f.put(t, f.id, "A", "one", true)
		path := filepath.Join(f.dir, secret.KeyFile)
		right, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, secret.Keyring{secret.NewKey()}.Text(), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Put(t.Context(), secret.Place{Workspace: f.id, Name: "A"}, "two"); workspace.KindOf(err) != workspace.Conflict || !isForeign(err) {
			t.Errorf("Put() with another key = %v, want a conflict", err)
		}
		if err := os.WriteFile(path, right, 0o600); err != nil {
			t.Fatal(err)
		}
		f.want(t, map[string]string{"A": "one"})
	})
}

// TestClaimAtOnce starts servers with different keys on an empty database: one
// gets it.
func TestClaimAtOnce(t *testing.T) {
	fresh(t, func(t *testing.T, f fixture) {
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			vault := secret.NewVault(t.TempDir(), f.store)
			wg.Go(func() { _, errs[i] = vault.Claim(t.Context()) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%d of %d servers belong to the database, want 1: %v", won, len(errs), errs)
		}
	})
}
