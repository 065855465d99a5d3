package process

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"workspace-server/internal/private"
)

// lockDirectory takes the lock on a workspace's directory. Closing the file
// releases it, once every process that inherited the file has closed it as well.
// Without create it fails with fs.ErrNotExist if there is no directory.
func lockDirectory(ctx context.Context, place string, create bool) (*os.File, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if create {
			if err := private.Directory(place); err != nil {
				return nil, err
			}
		}
		f, err := os.Open(place)
		if err != nil {
			if create && errors.Is(err, fs.ErrNotExist) {
				continue // another call has removed it meanwhile
			}
			return nil, err
		}
		err = wait(ctx, func() (bool, error) { return tryLock(f, true) })
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The previous holder of the lock may have removed the directory.
		locked, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(place); err == nil && os.SameFile(there, locked) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// locked reports whether a keeper holds the lock on its file. To find out, it
// takes the lock for a moment, shared with other calls. That cannot hinder the
// keeper, which locks the file before anyone else can see an instance.
func locked(f *os.File) (bool, error) {
	free, err := tryLock(f, false)
	return !free, err
}

// wait asks until the answer is true.
func wait(ctx context.Context, ask func() (bool, error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
