package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"workspace-server/internal/private"
	"workspace-server/internal/provision"
)

// Names in the directory of a generation. Keepers outlive the server: what is on
// disk, and the JSON below, must stay readable to later versions.
const (
	aliveFile = "alive"
	startFile = "instance.json"
	exitFile  = "exit.json"
	logFile   = "log"
	olderLog  = "log.1"

	pluginsDir = "plugins"
)

// homeDir is beside the generations.
const homeDir = "home"

// startRecord is what a keeper writes once it has started the agent.
type startRecord struct {
	Generation int64     `json:"generation"`
	Address    string    `json:"address"`
	Started    time.Time `json:"started"`
	Keeper     int       `json:"keeper"` // the keeper's process number
}

// exitRecord is what a keeper writes once the agent has ended.
type exitRecord struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// record is all that is stored of an instance, and whether it ran when that was
// read.
type record struct {
	startRecord
	exitRecord
	place   string // the workspace's directory
	running bool
}

func (r record) dir() string { return generationDir(r.place, r.Generation) }

func generationDir(place string, generation int64) string {
	return filepath.Join(place, strconv.FormatInt(generation, 10))
}

func (r record) instance() provision.Instance {
	in := provision.Instance{
		Workspace:  filepath.Base(r.place),
		Generation: r.Generation,
		State:      provision.Running,
		Address:    r.Address,
		Started:    r.Started,
	}
	if !r.running {
		in.State, in.ExitCode, in.Message = provision.Exited, r.Code, r.Message
	}
	return in
}

// newest reads the latest generation that is an instance.
func newest(place string) (record, error) {
	var before []int64
	for {
		all, err := generations(place)
		if err != nil {
			return record{}, err
		}
		for _, generation := range all {
			r, err := readRecord(place, generation)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return r, err
			}
		}
		// A generation may have gone because a later one has come since.
		if slices.Equal(all, before) {
			return record{}, provision.Absent(filepath.Base(place))
		}
		before = all
	}
}

// generations returns the latest first, including those that are no instance.
func generations(place string) ([]int64, error) {
	entries, err := os.ReadDir(place)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []int64
	for _, entry := range entries {
		if n, err := strconv.ParseInt(entry.Name(), 10, 64); err == nil && n >= 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, nil
}

// readRecord fails with fs.ErrNotExist if a generation is no instance.
func readRecord(place string, generation int64) (record, error) {
	r := record{place: place, startRecord: startRecord{Generation: generation}}
	if err := readJSON(filepath.Join(r.dir(), startFile), &r.startRecord); err != nil {
		return record{}, err
	}
	var err error
	if r.running, err = r.alive(); r.running || err != nil {
		return r, err
	}
	// A keeper writes it before it ends.
	err = readJSON(filepath.Join(r.dir(), exitFile), &r.exitRecord)
	if errors.Is(err, fs.ErrNotExist) {
		r.exitRecord = exitRecord{-1, "How the agent ended is not known: its keeper was killed, or the machine was restarted."}
		err = nil
	}
	return r, err
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file whole or not at all.
func writeJSON(path string, from any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return private.Replace(path, append(text, '\n'))
}

// alive reports whether the keeper runs. It fails with fs.ErrNotExist if the
// instance was removed.
func (r record) alive() (bool, error) {
	f, err := os.Open(filepath.Join(r.dir(), aliveFile))
	if err != nil {
		return false, err
	}
	defer f.Close()
	return locked(f)
}

// end ends the agent, and waits for its end: after SIGTERM for the grace time,
// then after SIGKILL.
func (r record) end(ctx context.Context, grace time.Duration) error {
	keeper, findErr := os.FindProcess(r.Keeper)
	if findErr == nil {
		defer func() { _ = keeper.Release() }()
	}
	ended := func() (bool, error) {
		running, err := r.alive()
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return !running, err
	}
	// As the keeper still runs now, the process found above is the keeper.
	if ok, err := ended(); ok || err != nil {
		return err
	}
	if findErr != nil {
		return findErr
	}
	if grace > 0 {
		if err := signalKeeper(keeper, signalStop); err != nil {
			return err
		}
		patience, cancel := context.WithTimeout(ctx, grace)
		err := wait(patience, ended)
		cancel()
		if err == nil || patience.Err() == nil || ctx.Err() != nil {
			return err
		}
	}
	if err := signalKeeper(keeper, signalKill); err != nil {
		return err
	}
	return wait(ctx, ended)
}

// signalKeeper does not fail if the keeper has ended.
func signalKeeper(keeper *os.Process, sig os.Signal) error {
	if err := keeper.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal the agent's keeper: %w", err)
	}
	return nil
}

// forget removes all generations but one. It removes the record first: what is
// left of a generation after a crash is no instance.
func forget(place string, except int64) error {
	all, err := generations(place)
	if err != nil {
		return err
	}
	for _, generation := range all {
		if generation == except {
			continue
		}
		dir := generationDir(place, generation)
		if err := os.Remove(filepath.Join(dir, startFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes a directory, even if the agent made directories in it that
// cannot be written to, as in a module cache.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) // before it is read
		}
		return nil
	})
	return os.RemoveAll(dir)
}
