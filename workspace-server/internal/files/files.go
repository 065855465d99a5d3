// Package files stores the files of each workspace, which its agent sees as
// /configs. The agent may change them and is not trusted: whatever it puts there,
// the server reads and writes nothing outside the directory, and opens nothing on
// purpose that is not a file.
package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"workspace-server/internal/private"
	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

// The agent may run as another user, in a container, so everyone may read its
// files. They are below directories that only the server's user may enter, so the
// mode matters only where the directory is mounted.
const (
	modeDir  = 0o755
	modeFile = 0o644
)

// The contents of a workspace's directory.
const (
	configs = "configs" // the files
	seeded  = "seeded"  // exists once the template's files are copied
)

// temporary begins the name of a file that a server is writing. The file is in
// the workspace's own directory, since os.Root can rename it only there; who holds
// the lock may remove it.
const temporary = ".workspace-server-"

// Dir is a directory with one directory for each workspace.
type Dir struct{ path string }

// New returns the files in a state directory.
func New(stateDirectory string) Dir { return Dir{filepath.Join(stateDirectory, "workspaces")} }

// File describes a file.
type File struct {
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`       // milliseconds since 1970
	ETag     string `json:"etag,omitempty"` // of the content; empty if the server cannot read the file
}

// Listing is the files of a workspace, ordered by path. It is not complete if the
// agent made more files than allowed, or files that the server cannot name or
// reach.
type Listing struct {
	Items    []File `json:"items"`
	Complete bool   `json:"complete"`
}

// Condition is what a change depends on: the entity tags of the headers If-Match
// and If-None-Match. Nil is no condition, and * is any file.
type Condition struct{ Match, NoneMatch []string }

// check fails with Stale.
func (c Condition) check(name string, exists bool, etag string) error {
	has := func(tags []string) bool {
		return exists && (slices.Contains(tags, "*") || etag != "" && slices.Contains(tags, etag))
	}
	weak := make([]string, len(c.NoneMatch))
	for i, tag := range c.NoneMatch {
		weak[i] = strings.TrimPrefix(tag, "W/")
	}
	switch {
	case c.Match != nil && !exists:
		return workspace.Errorf(workspace.Stale, "There is no file %.80q now.", name)
	case c.Match != nil && !has(c.Match):
		return workspace.Errorf(workspace.Stale, "The file %.80q is not the one that this request expects. Read it again, then retry.", name)
	case c.NoneMatch != nil && has(weak):
		return workspace.Errorf(workspace.Stale, "There is already a file %.80q.", name)
	}
	return nil
}

func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// Make makes the directory of a workspace's files unless it exists, and returns
// its path.
func (d Dir) Make(id string) (string, error) {
	release, err := d.hold(id)
	if err != nil {
		return "", err
	}
	defer release()
	root, err := d.make(id)
	if err != nil {
		return "", err
	}
	return filepath.Join(d.path, id, configs), root.Close()
}

// make makes and opens the directory of a workspace that the caller holds.
func (d Dir) make(id string) (*os.Root, error) {
	dir := filepath.Join(d.path, id, configs)
	switch err := os.Mkdir(dir, modeDir); {
	case err == nil:
		// The umask may have removed bits.
		if err := os.Chmod(dir, modeDir); err != nil {
			return nil, fail("make the directory of a workspace", "", err)
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fail("make the directory of a workspace", "", err)
	}
	root, err := os.OpenRoot(dir)
	return root, fail("open the directory of a workspace", "", err)
}

// open opens the directory of a workspace, and returns nil if there is none.
func (d Dir) open(id string) (*os.Root, error) {
	if !workspace.IsID(id) {
		return nil, workspace.Errorf(workspace.NotFound, "There is no workspace %.80q.", id)
	}
	root, err := os.OpenRoot(filepath.Join(d.path, id, configs))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return root, fail("open the directory of a workspace", "", err)
}

// hold makes the directory of a workspace, and keeps other servers from changing
// it until release is called. Readers need no lock, since files appear whole.
func (d Dir) hold(id string) (release func(), err error) {
	if !workspace.IsID(id) {
		return nil, workspace.Errorf(workspace.NotFound, "There is no workspace %.80q.", id)
	}
	dir := filepath.Join(d.path, id)
	for {
		if err := private.Directory(dir); err != nil {
			return nil, fail("make the directory of a workspace", "", err)
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, fail("open the directory of a workspace", "", err)
		}
		if err := lock(f); err != nil {
			return nil, fail("lock the directory of a workspace", "", errors.Join(err, f.Close()))
		}
		// The previous holder may have removed it.
		held, err := f.Stat()
		now, nowErr := os.Stat(dir)
		if err == nil && nowErr == nil && os.SameFile(held, now) {
			return func() { _ = f.Close() }, nil
		}
		_ = f.Close()
		if err != nil || nowErr != nil && !errors.Is(nowErr, fs.ErrNotExist) {
			return nil, fail("open the directory of a workspace", "", errors.Join(err, nowErr))
		}
	}
}

// List returns the files of a workspace. There may be none.
func (d Dir) List(id string) (Listing, error) {
	list := Listing{Items: []File{}, Complete: true}
	root, err := d.open(id)
	if err != nil || root == nil {
		return list, err
	}
	defer root.Close()
	var total int64
	_, complete, err := walk(root, func(name string, info fs.FileInfo) {
		if len(list.Items) == tree.MaxFiles {
			list.Complete = false
			return
		}
		file := File{Path: name, Size: info.Size(), Modified: info.ModTime().UnixMilli()}
		if file.Size <= tree.MaxFile && total+file.Size <= tree.MaxTotal {
			if whole, _, err := read(root, name); err == nil {
				file = whole
				total += file.Size
			}
		}
		list.Items = append(list.Items, file)
	})
	if err != nil {
		return Listing{}, fail("list the files of a workspace", "", err)
	}
	list.Complete = list.Complete && complete
	slices.SortFunc(list.Items, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// Read returns a file. It fails with Invalid if name is not a path, with NotFound,
// and with Conflict if the file is too large.
func (d Dir) Read(id, name string) (File, []byte, error) {
	if err := checkPath(name); err != nil {
		return File{}, nil, err
	}
	root, err := d.open(id)
	if err != nil {
		return File{}, nil, err
	}
	if root == nil {
		return File{}, nil, none(name)
	}
	defer root.Close()
	if info, err := look(root, name, workspace.NotFound); err != nil || info == nil {
		return File{}, nil, errOr(err, none(name))
	}
	return read(root, name)
}

// Write writes a file, whole or not at all, and reports whether it is new. It
// fails with Invalid if name is not a path or body is too large, with Stale, and
// with Conflict if something else is in its place or all files would be too much.
func (d Dir) Write(id, name string, body []byte, cond Condition) (File, bool, error) {
	if err := checkPath(name); err != nil {
		return File{}, false, err
	}
	if len(body) > tree.MaxFile {
		return File{}, false, workspace.Errorf(workspace.Invalid, "The file is larger than %d MiB.", tree.MaxFile>>20)
	}
	release, err := d.hold(id)
	if err != nil {
		return File{}, false, err
	}
	defer release()
	root, err := d.make(id)
	if err != nil {
		return File{}, false, err
	}
	defer root.Close()

	info, err := look(root, name, workspace.Conflict)
	if err != nil {
		return File{}, false, err
	}
	if info != nil && !info.Mode().IsRegular() {
		return File{}, false, workspace.Errorf(workspace.Conflict, "%.80q is not a file.", name)
	}
	if err := cond.check(name, info != nil, etagAt(root, name, info)); err != nil {
		return File{}, false, err
	}
	if err := room(root, map[string]int64{name: int64(len(body))}); err != nil {
		return File{}, false, err
	}
	modified, err := put(root, name, body)
	if err != nil {
		return File{}, false, fail("write a file", name, err)
	}
	return File{name, int64(len(body)), modified, etagOf(body)}, info == nil, nil
}

// Delete deletes a file, and the directories that are empty without it. It also
// deletes links and whatever else an agent made. It fails with Invalid if name is
// not a path, with NotFound, and with Stale.
func (d Dir) Delete(id, name string, cond Condition) error {
	if err := checkPath(name); err != nil {
		return err
	}
	root, err := d.open(id)
	if err != nil {
		return err
	}
	if root == nil {
		return errOr(cond.check(name, false, ""), none(name))
	}
	defer root.Close()
	release, err := d.hold(id)
	if err != nil {
		return err
	}
	defer release()

	info, err := look(root, name, workspace.NotFound)
	if err != nil {
		return err
	}
	exists := info != nil && !info.IsDir()
	if err := cond.check(name, exists, etagAt(root, name, info)); err != nil {
		return err
	}
	if !exists {
		return none(name)
	}
	return fail("delete a file", name, remove(root, name))
}

// Remove removes all files of a workspace. There may be none.
func (d Dir) Remove(id string) error {
	if workspace.IsID(id) {
		if _, err := os.Lstat(filepath.Join(d.path, id)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	release, err := d.hold(id)
	if err != nil {
		return err
	}
	defer release()
	return fail("remove the files of a workspace", "", os.RemoveAll(filepath.Join(d.path, id)))
}

// Seed copies a template's files to a workspace, once: from then on they are the
// workspace's own. Callers may repeat it, at the same time or after a crash at any
// step; it leaves alone what exists. It fails with Invalid if no workspace may
// have the template's files, and with Conflict if something is in the way.
func (d Dir) Seed(id string, template fs.FS) error {
	release, err := d.hold(id)
	if err != nil {
		return err
	}
	defer release()
	done := filepath.Join(d.path, id, seeded)
	if _, err := os.Lstat(done); !errors.Is(err, fs.ErrNotExist) {
		return fail("check whether a workspace has its template's files", "", err)
	}
	all, err := tree.Read(template)
	if err != nil {
		return err
	}
	root, err := d.make(id)
	if err != nil {
		return err
	}
	defer root.Close()
	missing, sizes := []tree.File{}, map[string]int64{}
	for _, file := range all {
		if err := checkPath(file.Path); err != nil {
			return err
		}
		info, err := look(root, file.Path, workspace.Conflict)
		if err != nil {
			return err
		}
		if info == nil {
			missing = append(missing, file)
			sizes[file.Path] = int64(len(file.Body))
		}
	}
	if err := room(root, sizes); err != nil {
		return err
	}
	for _, file := range missing {
		if _, err := put(root, file.Path, file.Body); err != nil {
			return fail("copy a template's file", file.Path, err)
		}
	}
	if _, err := private.Create(done, nil); err != nil {
		return fail("record that a workspace has its template's files", "", err)
	}
	return nil
}

// checkPath keeps clients from the files that a server is writing.
func checkPath(name string) error {
	if strings.HasPrefix(name, temporary) {
		return workspace.Errorf(workspace.Invalid, "The path %.80q cannot be used: names that begin with %q belong to the server.", name, temporary)
	}
	return tree.CheckPath(name)
}

func none(name string) error {
	return workspace.Errorf(workspace.NotFound, "There is no file %.80q.", name)
}

// errOr returns err, or other if err is nil.
func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// fail gives err a kind and says what the server was doing. It returns nil for
// nil, and leaves errors of the domain alone.
func fail(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*workspace.Error](err); ok {
		return err
	}
	kind, message := kindOf(err)
	if name != "" {
		doing = fmt.Sprintf("%s %q", doing, name)
	}
	return workspace.Wrap(kind, message, fmt.Errorf("%s: %w", doing, err))
}
