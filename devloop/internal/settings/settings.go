// Package settings notices edits of a file of settings that a running loop does
// not read again: NAME=VALUE lines, as compose's .env has them.
package settings

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// A File is a file of settings as it was at the latest look.
type File struct {
	path  string
	stamp state
	known map[string]string
}

// Open looks at a file, which need not exist.
func Open(path string) *File {
	return &File{path: path, stamp: look(path), known: parse(path)}
}

// Watch calls changed with the names of the settings that have other values
// than at the look before, whenever an edit has changed some. It returns when
// ctx is done.
func (f *File) Watch(ctx context.Context, changed func(names []string)) {
	const interval = time.Second
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if names := f.lookAgain(); len(names) > 0 {
			changed(names)
		}
	}
}

// lookAgain returns the names of the settings that have changed.
func (f *File) lookAgain() []string {
	now := look(f.path)
	if now == f.stamp {
		return nil
	}
	values := parse(f.path)
	if look(f.path) != now {
		return nil // someone writes it just now: the next look will tell
	}
	names := differ(f.known, values)
	f.stamp, f.known = now, values
	return names
}

// A state tells one version of a file from another.
type state struct {
	size     int64
	modified time.Time
}

func look(path string) state {
	info, err := os.Stat(path)
	if err != nil {
		return state{}
	}
	return state{info.Size(), info.ModTime()}
}

// parse returns the settings of a file by name. One that is not there has none.
func parse(path string) map[string]string {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			values[strings.TrimSpace(strings.TrimPrefix(name, "export "))] = value
		}
	}
	return values
}

// differ returns the names, in order, whose values are not the same.
func differ(before, after map[string]string) []string {
	names := make(map[string]bool)
	for name, value := range before {
		if now, ok := after[name]; !ok || now != value {
			names[name] = true
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
