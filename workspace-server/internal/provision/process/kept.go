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

	"workspace-server/internal/provision"
)

// Names in the directory of a generation.
const (
	aliveFile  = "alive"
	recordFile = "instance.json"
	exitFile   = "exit.json"
	logFile    = "log"
	olderLog   = "log.1"
	pluginsDir = "plugins"
)

// homeDir is beside the generations.
const homeDir = "home"

// record is what is written down when an agent was started.
type record struct {
	Generation int64     `json:"generation"`
	Address    string    `json:"address"`
	Started    time.Time `json:"started"`
	Keeper     int       `json:"keeper"` // the keeper's process number
}

// exit is what is written down when an agent has ended.
type exit struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// kept is what there is of an instance.
type kept struct {
	record
	exit
	place   string // the workspace's directory
	running bool   // when it was read
}

func (k kept) dir() string { return filepath.Join(k.place, strconv.FormatInt(k.Generation, 10)) }

func (k kept) instance() provision.Instance {
	in := provision.Instance{
		Workspace:  filepath.Base(k.place),
		Generation: k.Generation,
		State:      provision.Running,
		Address:    k.Address,
		Started:    k.Started,
	}
	if !k.running {
		in.State, in.ExitCode, in.Message = provision.Exited, k.Code, k.Message
	}
	return in
}

// newest reads the latest generation that is an instance.
func newest(place string) (kept, error) {
	var before []int64
	for {
		all, err := generations(place)
		if err != nil {
			return kept{}, err
		}
		for _, generation := range all {
			k, err := read(place, generation)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return k, err
			}
		}
		// An earlier one may be gone because a later one has come since.
		if slices.Equal(all, before) {
			return kept{}, provision.Absent(filepath.Base(place))
		}
		before = all
	}
}

// generations returns the latest first, also those that are no instance.
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

// read fails with fs.ErrNotExist if a generation is no instance.
func read(place string, generation int64) (kept, error) {
	k := kept{place: place, record: record{Generation: generation}}
	if err := readJSON(filepath.Join(k.dir(), recordFile), &k.record); err != nil {
		return kept{}, err
	}
	var err error
	if k.running, err = k.alive(); k.running || err != nil {
		return k, err
	}
	// A keeper writes it before it ends.
	err = readJSON(filepath.Join(k.dir(), exitFile), &k.exit)
	if errors.Is(err, fs.ErrNotExist) {
		k.exit = exit{-1, "How the agent ended is not known: its keeper was killed, or the machine was restarted."}
		err = nil
	}
	return k, err
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

// alive reports whether the keeper runs. It fails with fs.ErrNotExist if the
// instance was removed.
func (k kept) alive() (bool, error) {
	f, err := os.Open(filepath.Join(k.dir(), aliveFile))
	if err != nil {
		return false, err
	}
	defer f.Close()
	return locked(f)
}

// locked reports whether a keeper holds the lock. Those who ask take it for a
// moment, which is in nobody's way: they share it, and a keeper has it already
// when the file is there to be asked for.
func locked(f *os.File) (bool, error) {
	free, err := tryLock(f, false)
	return !free, err
}

// end ends the agent, and waits for the end.
func (k kept) end(ctx context.Context, grace time.Duration) error {
	keeper, findErr := os.FindProcess(k.Keeper)
	if findErr == nil {
		defer func() { _ = keeper.Release() }()
	}
	ended := func() (bool, error) {
		running, err := k.alive()
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return !running, err
	}
	// As the keeper still runs now, the process that was found is the keeper.
	if ok, err := ended(); ok || err != nil {
		return err
	}
	if findErr != nil {
		return findErr
	}
	if grace > 0 {
		if err := tell(keeper, signalStop); err != nil {
			return err
		}
		patience, cancel := context.WithTimeout(ctx, grace)
		err := wait(patience, ended)
		cancel()
		if err == nil || patience.Err() == nil || ctx.Err() != nil {
			return err
		}
	}
	if err := tell(keeper, signalKill); err != nil {
		return err
	}
	return wait(ctx, ended)
}

// tell sends a signal to a keeper, which may have ended.
func tell(keeper *os.Process, sig os.Signal) error {
	if err := keeper.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal the agent's keeper: %w", err)
	}
	return nil
}
