// Package vault keeps secrets: their keys in a file, and in the database what
// only these keys open.
package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"workspace-server/internal/private"
	"workspace-server/internal/secret"
	"workspace-server/internal/workspace"
)

// File is the name of the keys' file in the state directory.
const File = "secret-keys"

// Vault keeps secrets. It remembers no key, so that a rotation by another
// process is seen at once.
type Vault struct {
	store secret.Store
	path  string
}

// New returns a vault whose keys are in a directory.
func New(dir string, store secret.Store) *Vault {
	return &Vault{store: store, path: filepath.Join(dir, File)}
}

// Init makes the first key, unless there is one, and reports whether it did.
func (v *Vault) Init() (path string, made bool, err error) {
	made, err = private.Create(v.path, secret.Keyring{secret.NewKey()}.Text())
	if err != nil {
		return v.path, false, fmt.Errorf("write the secrets' key to the state directory (STATE_DIRECTORY): %w", err)
	}
	_, err = v.keys()
	return v.path, made, err
}

func (v *Vault) keys() (secret.Keyring, error) {
	text, err := private.Read(v.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the secrets' key is gone: put %s back, or start the server again for a new one, which opens no secret of before", v.path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the secrets' keys: %w", err)
	}
	keys, err := secret.ParseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("read the secrets' keys: %s: %w", v.path, err)
	}
	return keys, nil
}

// List fails as secret.Store does.
func (v *Vault) List(ctx context.Context, id string) ([]secret.Secret, error) {
	return v.store.Secrets(ctx, id)
}

// Put stores a value and reports whether the secret is new. It fails with
// Invalid, and as secret.Store does.
func (v *Vault) Put(ctx context.Context, p secret.Place, value string) (bool, error) {
	if err := errors.Join(p.Check(), secret.CheckValue(value)); err != nil {
		return false, err
	}
	return v.store.PutSecret(ctx, p, func() (secret.Sealed, error) {
		keys, err := v.keys()
		if err != nil {
			return secret.Sealed{}, err
		}
		return keys.Seal(p, value), nil
	})
}

// Delete fails as secret.Store does.
func (v *Vault) Delete(ctx context.Context, p secret.Place) error {
	return v.store.DeleteSecret(ctx, p)
}

// Values returns what a workspace gets, by name: its own secrets, and those for
// all. It fails with Conflict when a key is not known here.
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
				fmt.Sprintf("The secret %s cannot be opened by the keys of this server. Put back the key that it was made with, or set it again.", p.Name), err)
		}
	}
	return values, nil
}

// Rotate seals all secrets with a new key, and forgets the keys of before. A
// crash at any point leaves all that is needed to open them, and running it
// again finishes it. It returns how many secrets there are.
func (v *Vault) Rotate(ctx context.Context) (n int, err error) {
	err = v.store.Reseal(ctx, func(all map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error) {
		n = len(all)
		return v.reseal(all)
	})
	if err != nil {
		return 0, fmt.Errorf("all keys are kept, and no secret was changed: %w", err)
	}
	return n, v.store.Reseal(ctx, v.forget)
}

// reseal has a new key in the file before anything is sealed with it.
func (v *Vault) reseal(all map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error) {
	keys, err := v.keys()
	if err != nil {
		return nil, err
	}
	keys = append(secret.Keyring{secret.NewKey()}, keys...)
	again := make(map[secret.Place]secret.Sealed, len(all))
	for p, s := range all {
		value, err := keys.Open(p, s)
		if err != nil {
			return nil, err
		}
		again[p] = keys.Seal(p, value)
	}
	return again, v.replace(keys)
}

// forget removes the keys that no secret needs, but for the one that seals.
func (v *Vault) forget(all map[secret.Place]secret.Sealed) (map[secret.Place]secret.Sealed, error) {
	keys, err := v.keys()
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{keys[0].ID(): true}
	for _, s := range all {
		needed[s.Key] = true
	}
	return nil, v.replace(slices.DeleteFunc(keys, func(k secret.Key) bool { return !needed[k.ID()] }))
}

func (v *Vault) replace(keys secret.Keyring) error {
	if err := private.Replace(v.path, keys.Text()); err != nil {
		return fmt.Errorf("write the secrets' keys: %w", err)
	}
	return nil
}
