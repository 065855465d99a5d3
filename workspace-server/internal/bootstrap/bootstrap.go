// Package bootstrap gives a new installation its first administrator's token, in a
// file that only the server's user can read.
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

// Store stores tokens.
type Store interface {
	HasAdmin(ctx context.Context) (bool, error)
	// EnsureToken stores a token unless it is stored, and reports whether the
	// server accepts it.
	EnsureToken(ctx context.Context, t token.Token, hash string) (good bool, err error)
}

// Result describes the file.
type Result struct {
	Path string // empty if there is no file
	Made bool   // by this call
	Good bool   // the server accepts the token in it
}

// Admin makes the first administrator's token unless there is one; with always it
// makes the file whatever tokens there are. It writes the file before it stores
// the token, and stores the token of a file that exists, so that neither a crash
// in between nor a new database loses it.
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
		secret, err = read(r.Path) // maybe of another server, which was faster
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
		return "", fmt.Errorf("there is no token in %s: remove the file, and restart the server to make another token", path)
	}
	return token.Secret(text), nil
}
