// Package tree limits directories that come from outside: the names, the sizes and
// the number of their files. It also reads such a directory as a whole.
package tree

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"workspace-server/internal/workspace"
)

// Limits of a directory. Paths begin below it.
const (
	MaxFile  = 1 << 20  // bytes in a file
	MaxTotal = 16 << 20 // bytes in all files
	MaxFiles = 1000
	MaxDepth = 16   // names in a path
	MaxName  = 255  // bytes in a name
	MaxPath  = 1024 // bytes in a path

	// MaxEntries is how many files and directories the server looks at.
	MaxEntries = 4 * MaxFiles
)

// CheckPath accepts names with single slashes between them, which mean the same
// file to everyone, and fails with Invalid on all else.
func CheckPath(name string) error {
	wrong := func(format string, args ...any) error {
		return workspace.Errorf(workspace.Invalid, "The path %.80q cannot be used: %s.", name, fmt.Sprintf(format, args...))
	}
	switch {
	case len(name) > MaxPath:
		return wrong("it is longer than %d bytes", MaxPath)
	case !utf8.ValidString(name):
		return wrong("it is not valid UTF-8")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return wrong("it holds a character that cannot be printed")
	case strings.Contains(name, `\`):
		return wrong("it holds a backslash; names are separated by /")
	case strings.Count(name, "/") >= MaxDepth:
		return wrong("it has more than %d names", MaxDepth)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return wrong("it has an empty name")
		case part == ".", part == "..":
			return wrong("it has the name %q", part)
		case len(part) > MaxName:
			return wrong("it has a name of more than %d bytes", MaxName)
		}
	}
	// Some systems have names that are devices.
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return wrong("it means something else on this system")
	}
	return nil
}

// CheckRoom fails with Conflict if that many files or bytes are too many.
func CheckRoom(files int, bytes int64) error {
	switch {
	case files > MaxFiles:
		return workspace.Errorf(workspace.Conflict, "A workspace may have at most %d files. Delete some first.", MaxFiles)
	case bytes > MaxTotal:
		return workspace.Errorf(workspace.Conflict, "The files would have more than %d MiB in all. Delete some first.", MaxTotal>>20)
	}
	return nil
}

// File is a file with its content.
type File struct {
	Path       string
	Executable bool
	Body       []byte
}

// Read returns all files of a directory, ordered by path. It fails with Invalid if
// there is too much, or anything that is neither a file nor a directory, such as a
// link.
func Read(fsys fs.FS) ([]File, error) {
	var all []File
	var total int64
	entries := 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return unreadable(name, err)
		}
		if name == "." {
			return nil
		}
		if err := CheckPath(name); err != nil {
			return err
		}
		if entries++; entries > MaxEntries {
			return workspace.Errorf(workspace.Invalid, "There are more than %d files and directories.", MaxEntries)
		}
		if entry.IsDir() {
			return nil
		}
		file, err := read(fsys, name, entry)
		if err != nil {
			return err
		}
		all = append(all, file)
		total += int64(len(file.Body))
		return CheckRoom(len(all), total)
	})
	if workspace.KindOf(err) == workspace.Conflict {
		err = workspace.Errorf(workspace.Invalid, "There are more than %d files, or more than %d MiB in all.", MaxFiles, MaxTotal>>20)
	}
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return all, err
}

func unreadable(name string, err error) error {
	return workspace.Wrap(workspace.Invalid, fmt.Sprintf("%q cannot be read.", path.Clean(name)), err)
}

func read(fsys fs.FS, name string, entry fs.DirEntry) (File, error) {
	irregular := workspace.Errorf(workspace.Invalid, "%q is neither a file nor a directory.", name)
	if !entry.Type().IsRegular() {
		return File{}, irregular
	}
	f, err := fsys.Open(name)
	if err != nil {
		return File{}, unreadable(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, unreadable(name, err)
	}
	if !info.Mode().IsRegular() {
		return File{}, irregular
	}
	body, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return File{}, unreadable(name, err)
	case len(body) > MaxFile:
		return File{}, workspace.Errorf(workspace.Invalid, "%q is larger than %d MiB.", name, MaxFile>>20)
	}
	return File{Path: name, Executable: info.Mode()&0o100 != 0, Body: body}, nil
}
