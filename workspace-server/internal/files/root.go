package files

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

// All access goes through os.Root, which refuses to leave the directory even if a
// link takes a name's place between two calls. The code also refuses paths with
// links, so that one file has one path, but safety does not rely on that.

// look returns what is at a path, nil for nothing. It fails with kind if a name
// on the way is not a directory.
func look(root *os.Root, name string, kind workspace.Kind) (fs.FileInfo, error) {
	for end := 0; ; end++ {
		if next := strings.IndexByte(name[end:], '/'); next >= 0 {
			end += next
		} else {
			end = len(name)
		}
		info, err := root.Lstat(name[:end])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fail("look at", name, err)
		case end == len(name):
			return info, nil
		case !info.IsDir():
			return nil, workspace.Errorf(kind, "%.80q is not a directory, so nothing can be in it.", name[:end])
		}
	}
}

// read returns a file. It looks before it opens, so that it never waits for a
// pipe, and again at what it has opened, so that it never reads a device.
func read(root *os.Root, name string) (File, []byte, error) {
	irregular := workspace.Errorf(workspace.NotFound, "%.80q is not a file.", name)
	info, err := root.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = irregular
	}
	if err != nil {
		return File{}, nil, fail("look at", name, err)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return File{}, nil, fail("open", name, err)
	}
	defer f.Close()
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = irregular
	}
	if err != nil {
		return File{}, nil, fail("look at", name, err)
	}
	body, err := io.ReadAll(io.LimitReader(f, tree.MaxFile+1))
	switch {
	case err != nil:
		return File{}, nil, fail("read", name, err)
	case len(body) > tree.MaxFile:
		return File{}, nil, workspace.Errorf(workspace.Conflict, "The file %.80q is larger than %d MiB, which is the most that the server reads.", name, tree.MaxFile>>20)
	}
	return File{name, int64(len(body)), info.ModTime().UnixMilli(), etagOf(body)}, body, nil
}

// etagAt returns the tag of a file, empty if the server cannot read it.
func etagAt(root *os.Root, name string, info fs.FileInfo) string {
	if info == nil || !info.Mode().IsRegular() {
		return ""
	}
	file, _, err := read(root, name)
	if err != nil {
		return ""
	}
	return file.ETag
}

// walk calls visit with each file. It returns the number of files and directories
// that it saw, and whether it saw all.
func walk(root *os.Root, visit func(name string, info fs.FileInfo)) (entries int, complete bool, err error) {
	complete = true
	for dirs := []string{"."}; len(dirs) > 0; dirs = dirs[1:] {
		dir, left := dirs[0], tree.MaxEntries-entries
		names, err := namesIn(root, dir, left+1)
		if dir == "." && err != nil {
			return 0, false, err
		}
		if len(names) > left {
			names, complete = names[:left], false
		}
		complete = complete && err == nil
		entries += len(names)
		for _, base := range names {
			name := path.Join(dir, base)
			if strings.HasPrefix(name, temporary) {
				continue
			}
			info, err := root.Lstat(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil || tree.CheckPath(name) != nil:
				complete = false
			case info.IsDir():
				dirs = append(dirs, name)
			case info.Mode().IsRegular():
				visit(name, info)
			}
		}
	}
	return entries, complete, nil
}

// namesIn returns at most limit names of a directory.
func namesIn(root *os.Root, dir string, limit int) ([]string, error) {
	f, err := root.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// room fails with Conflict if files of these sizes, some of which may replace
// others, would be too much.
func room(root *os.Root, sizes map[string]int64) error {
	files := len(sizes)
	var total int64
	var added int // at most, directories included
	for name, size := range sizes {
		total += size
		added += strings.Count(name, "/") + 1
	}
	entries, _, err := walk(root, func(name string, info fs.FileInfo) {
		if _, replaced := sizes[name]; !replaced {
			files++
			total += info.Size()
		}
	})
	if err != nil {
		return fail("count the files", "", err)
	}
	if entries+added > tree.MaxEntries {
		return workspace.Errorf(workspace.Conflict, "A workspace may have at most %d files and directories. Delete some first.", tree.MaxEntries)
	}
	return tree.CheckRoom(files, total)
}

// put writes a file, makes the directories on the way, and returns the time of
// the modification.
func put(root *os.Root, name string, body []byte) (modified int64, err error) {
	if err := clean(root); err != nil {
		return 0, err
	}
	temp := temporary + strings.ToLower(rand.Text())
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeFile)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temp) // it may not exist any more
		}
	}()
	_, err = f.Write(body)
	info, statErr := f.Stat()
	// The umask may have removed bits.
	if err := errors.Join(err, statErr, f.Chmod(modeFile), f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := makeParents(root, name); err != nil {
		return 0, err
	}
	if err := root.Rename(temp, name); err != nil {
		return 0, err
	}
	return info.ModTime().UnixMilli(), sync(root, path.Dir(name))
}

// clean removes what a server left when it ended in the middle of a write.
func clean(root *os.Root) error {
	names, err := namesIn(root, ".", tree.MaxEntries)
	for _, name := range names {
		if strings.HasPrefix(name, temporary) {
			err = errors.Join(err, root.RemoveAll(name))
		}
	}
	return err
}

// makeParents makes the directories on the way to a file.
func makeParents(root *os.Root, name string) error {
	for i, c := range []byte(name) {
		if c != '/' {
			continue
		}
		switch err := root.Mkdir(name[:i], modeDir); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if err := root.Chmod(name[:i], modeDir); err != nil {
			return err
		}
		if err := sync(root, path.Dir(name[:i])); err != nil {
			return err
		}
	}
	return nil
}

// remove removes what is at a path, and the directories that are empty then.
func remove(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil {
		return err
	}
	dir := path.Dir(name)
	for dir != "." && root.Remove(dir) == nil {
		dir = path.Dir(dir)
	}
	return sync(root, dir)
}

// sync makes a directory's names survive a power cut.
func sync(root *os.Root, dir string) error {
	f, err := root.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// kindOf returns the kind of an error of the system, and what clients read. An
// error without a number is os.Root's own: a link leads out.
func kindOf(err error) (workspace.Kind, string) {
	const changed = "The agent changed the directory at the same time. Try again."
	number, ok := errors.AsType[syscall.Errno](err)
	if _, isPath := errors.AsType[*fs.PathError](err); isPath && !ok {
		return workspace.Conflict, changed
	}
	if _, isLink := errors.AsType[*os.LinkError](err); isLink && !ok {
		return workspace.Conflict, changed
	}
	switch number {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.EEXIST, syscall.ENOTEMPTY, syscall.ELOOP, syscall.ENXIO,
		syscall.EOPNOTSUPP: // a link took the place of what is given its mode
		return workspace.Conflict, changed
	case syscall.EACCES, syscall.EPERM:
		return workspace.Conflict, "The agent has taken the server's right to this file or directory. Let the agent give it back, or delete it."
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE:
		return workspace.Unavailable, "The server has no space left for this. Try again later."
	}
	return workspace.Internal, ""
}
