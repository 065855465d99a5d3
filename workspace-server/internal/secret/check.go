package secret

import (
	"cmp"
	"context"
	"fmt"
)

// checked is the value that the key check holds, which the database's key has
// sealed so that no server with another key uses the database. Its place is the
// zero Place, which no secret can have.
const checked = "the key of this database"

// A ForeignKeyError says that a database belongs to another key.
type ForeignKeyError struct {
	Path string // of the key file
}

func (e *ForeignKeyError) Error() string {
	return fmt.Sprintf("the keys in %s are not those of the database: give this server the state directory (STATE_DIRECTORY) that belongs to the database, or a database of its own (DATABASE_URL); "+
		"if the database's key is lost, 'workspace-server secrets adopt' makes this one its key, and secrets that were sealed before must be set again", e.Path)
}

// A Claimed says what Claim or Adopt found.
type Claimed struct {
	Path string // of the key file
	Made bool   // the key is new
	Lost int    // secrets that no key opens, as far as they were looked at
}

// Claim ensures that the keys are those of the database, and makes the first key
// of a new installation. It fails with a *ForeignKeyError if they are not.
func (v *Vault) Claim(ctx context.Context) (Claimed, error) {
	c := Claimed{Path: v.path}
	check, err := v.store.KeyCheck(ctx)
	if err != nil {
		return c, err
	}
	if check != nil {
		keys, err := v.keys()
		if err != nil || keys.opens(Place{}, *check) {
			return c, err
		}
	}
	// There is no check yet, or the keys were just rotated; here no one rotates them.
	var refused error // as it is: the store would say that it is an internal one
	err = v.store.Reseal(ctx, func(all map[Place]Sealed) (changed map[Place]Sealed, _ error) {
		changed, c.Made, c.Lost, refused = v.claim(all)
		return changed, refused
	})
	return c, cmp.Or(refused, err)
}

func (v *Vault) claim(all map[Place]Sealed) (changed map[Place]Sealed, made bool, lost int, err error) {
	if len(all) == 0 { // otherwise a new key would open nothing
		if made, err = v.Init(); err != nil {
			return nil, false, 0, err
		}
	}
	keys, err := v.keys()
	if err != nil {
		return nil, made, 0, err
	}
	check, has := all[Place{}]
	if has && keys.opens(Place{}, check) {
		return nil, made, 0, nil
	}
	delete(all, Place{})
	lost = keys.lost(all)
	// A server of before knows no check, and leaves it behind when it rotates the
	// keys. All secrets are sealed with the new key then.
	rotated := has && len(all) > 0 && lost == 0
	older := !has && (len(all) == 0 || lost < len(all))
	if !rotated && !older {
		return nil, made, lost, &ForeignKeyError{v.path}
	}
	return keys.check(), made, lost, nil
}

// Adopt makes the first key of the file the database's, and makes the file if
// there is none. Secrets that no key of the file opens stay as they are.
func (v *Vault) Adopt(ctx context.Context) (Claimed, error) {
	c := Claimed{Path: v.path}
	var err error
	if c.Made, err = v.Init(); err != nil {
		return c, err
	}
	return c, v.store.Reseal(ctx, func(all map[Place]Sealed) (map[Place]Sealed, error) {
		keys, err := v.keys()
		if err != nil {
			return nil, err
		}
		delete(all, Place{})
		c.Lost = keys.lost(all)
		return keys.check(), nil
	})
}

// lost counts the secrets that no key opens.
func (r Keyring) lost(all map[Place]Sealed) int {
	n := 0
	for p, s := range all {
		if !r.opens(p, s) {
			n++
		}
	}
	return n
}

// check is a new key check.
func (r Keyring) check() map[Place]Sealed {
	return map[Place]Sealed{{}: r.Seal(Place{}, checked)}
}
