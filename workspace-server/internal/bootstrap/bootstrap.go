// Package bootstrap gives a new installation its first key: a token of an
// administrator, in a file that only the server's user can read.
package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"workspace-server/internal/private"
	"workspace-server/internal/token"
)

// File is the name of the token's file in the state directory.
const File = "admin-token"

// Store is where tokens are kept.
type Store interface {
	HasAdmin(ctx context.Context) (bool, error)
	EnsureToken(ctx context.Context, t token.Token, hash string) (good bool, err error)
}

// Result says what there is.
type Result struct {
	Path string // of the file; empty: there is none
	Made bool   // by this call
	Good bool   // the token in the file is accepted
}

// Admin makes the first token of an administrator, unless there is one. Always
// says that the file is wanted whatever tokens there are. The file is written
// before the token is stored, so that a crash in between loses nothing: a file
// that is there is taken as it is, also by a new database.
func Admin(ctx context.Context, dir string, always bool, s Store) (Result, error) {
	r := Result{Path: filepath.Join(dir, File)}
	secret, err := read(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if has, err := s.HasAdmin(ctx); err != nil || has && !always {
			return Result{}, err
		}
		if r.Made, err = private.Create(r.Path, []byte(token.NewSecret()+"\n")); err != nil {
			return Result{}, fmt.Errorf("write the administrator's token to the state directory (STATE_DIRECTORY): %w", err)
		}
		secret, err = read(r.Path) // another server's, if that was faster
	}
	if err != nil {
		return Result{}, err
	}
	first, err := token.New(token.Spec{Name: "first administrator", Role: token.Admin}, secret, time.Now())
	if err != nil {
		return Result{}, err
	}
	r.Good, err = s.EnsureToken(ctx, first, secret.Hash())
	return r, err
}

func read(path string) (token.Secret, error) {
	text, err := private.Read(path)
	if err != nil {
		return "", fmt.Errorf("read the administrator's token: %w", err)
	}
	text = bytes.TrimSpace(text)
	if !token.IsSecret(string(text)) {
		return "", fmt.Errorf("there is no token in %s: remove the file, and start the server again for another one", path)
	}
	return token.Secret(text), nil
}
