package secret

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"workspace-server/internal/private"
	"workspace-server/internal/workspace"
)

// KeyFile is the name of the key file in the state directory.
const KeyFile = "secret-keys"

// A Vault stores secrets: their keys in a file, and in the database what only
// these keys open. It reads the file each time, so that it sees at once what
// another process has rotated.
type Vault struct {
	store Store
	path  string
}

// NewVault returns a vault whose key file is in a directory.
func NewVault(dir string, store Store) *Vault {
	return &Vault{store: store, path: filepath.Join(dir, KeyFile)}
}

// Init makes the first key unless there is one, and reports whether it did.
func (v *Vault) Init() (made bool, err error) {
	made, err = private.Create(v.path, Keyring{NewKey()}.Text())
	if err != nil {
		return false, fmt.Errorf("write the key file to the state directory (STATE_DIRECTORY): %w", err)
	}
	_, err = v.keys()
	return made, err
}

func (v *Vault) keys() (Keyring, error) {
	text, err := private.Read(v.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key file %s is gone: put it back from the backup; if it is lost, 'workspace-server secrets adopt' makes a new key, which opens none of the secrets stored so far", v.path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	keys, err := ParseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("read the key file %s: %w", v.path, err)
	}
	return keys, nil
}

// List returns a workspace's secrets, or those for all workspaces if id is
// empty. It fails as Store.Secrets does.
func (v *Vault) List(ctx context.Context, id string) ([]Secret, error) {
	return v.store.Secrets(ctx, id)
}

// Put stores a value and reports whether the secret is new. It fails with
// Invalid, and as Store.PutSecret does.
func (v *Vault) Put(ctx context.Context, p Place, value string) (bool, error) {
	if err := errors.Join(p.Check(), CheckValue(value)); err != nil {
		return false, err
	}
	return v.store.PutSecret(ctx, p, func(check *Sealed) (Sealed, error) {
		keys, err := v.keys()
		if err != nil {
			return Sealed{}, err
		}
		if check != nil && !keys.opens(Place{}, *check) {
			return Sealed{}, workspace.Wrap(workspace.Conflict,
				"The secret is not stored, since this server's keys do not belong to its database. Put back the right key file.", &ForeignKeyError{v.path})
		}
		return keys.Seal(p, value), nil
	})
}

// Delete deletes a secret. It fails as Store.DeleteSecret does.
func (v *Vault) Delete(ctx context.Context, p Place) error {
	return v.store.DeleteSecret(ctx, p)
}

// Values returns the values that a workspace's agent gets, by name: of its own
// secrets, and of those for all workspaces. It fails with Conflict when the key
// file lacks a key.
func (v *Vault) Values(ctx context.Context, id string) (map[string]string, error) {
	all, err := v.store.SealedSecrets(ctx, id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	keys, err := v.keys()
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(all))
	for p, s := range all {
		if values[p.Name], err = keys.Open(p, s); err != nil {
			return nil, workspace.Wrap(workspace.Conflict,
				fmt.Sprintf("None of this server's keys opens the secret %s. Put back the key that sealed it, or set the secret again.", p.Name), err)
		}
	}
	return values, nil
}

// Rotate seals all secrets with a new key, forgets the old keys, and returns the
// number of secrets. After a crash at any point all secrets can still be opened,
// and the next Rotate finishes the work.
func (v *Vault) Rotate(ctx context.Context) (n int, err error) {
	err = v.store.Reseal(ctx, func(all map[Place]Sealed) (map[Place]Sealed, error) {
		n = len(all)
		if _, checked := all[Place{}]; checked {
			n--
		}
		return v.reseal(all)
	})
	if err != nil {
		return 0, fmt.Errorf("no secret has changed, and no key is lost: %w", err)
	}
	return n, v.store.Reseal(ctx, v.forget)
}

// reseal seals all secrets with a new key, which is in the file before the
// database has anything that it sealed.
func (v *Vault) reseal(all map[Place]Sealed) (map[Place]Sealed, error) {
	keys, err := v.keys()
	if err != nil {
		return nil, err
	}
	if check, has := all[Place{}]; has && !keys.opens(Place{}, check) {
		return nil, &ForeignKeyError{v.path}
	}
	keys = append(Keyring{NewKey()}, keys...)
	again := make(map[Place]Sealed, len(all))
	for p, s := range all {
		value, err := keys.Open(p, s)
		if err != nil {
			return nil, err
		}
		again[p] = keys.Seal(p, value)
	}
	return again, v.replace(keys)
}

// forget removes the keys that no secret needs, except the first, which seals.
func (v *Vault) forget(all map[Place]Sealed) (map[Place]Sealed, error) {
	keys, err := v.keys()
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{keys[0].ID(): true}
	for _, s := range all {
		needed[s.Key] = true
	}
	return nil, v.replace(slices.DeleteFunc(keys, func(k Key) bool { return !needed[k.ID()] }))
}

func (v *Vault) replace(keys Keyring) error {
	if err := private.Replace(v.path, keys.Text()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	return nil
}
