package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// Events listens to what the file system tells of directories (inotify(7)).
type Events struct {
	fd   int
	dirs map[string]watch
	told map[int32]int // the last look before which something was told
	look int
	calm int // the last look that found nothing new
}

// A watch is one directory that is listened to.
type watch struct {
	wd    int32
	since int // the look after which it began
}

// NewEvents returns Events, which Close ends.
func NewEvents() (*Events, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("listen to the file system: %w", err)
	}
	return &Events{fd: fd, dirs: make(map[string]watch), told: make(map[int32]int)}, nil
}

// Close ends them.
func (e *Events) Close() { _ = syscall.Close(e.fd) }

// Watch listens to these directories as well. Where that is not possible, nothing
// is known of a directory.
func (e *Events) Watch(dirs []string) {
	const mask = syscall.IN_MODIFY | syscall.IN_ATTRIB | syscall.IN_CREATE | syscall.IN_DELETE | syscall.IN_MOVED_FROM | syscall.IN_MOVED_TO
	for _, dir := range dirs {
		// Again and again: a directory of this name may be another one by now.
		wd, err := syscall.InotifyAddWatch(e.fd, dir, mask|syscall.IN_ONLYDIR)
		switch old, ok := e.dirs[dir]; {
		case err != nil:
			delete(e.dirs, dir)
		case !ok || old.wd != int32(wd):
			e.dirs[dir] = watch{int32(wd), e.look}
		}
	}
}

// Look takes what was told until now. It is called before each look at the files.
func (e *Events) Look() {
	e.look++
	buf := make([]byte, 64<<10)
	for {
		n, err := syscall.Read(e.fd, buf)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		for rest := buf[:n]; len(rest) >= syscall.SizeofInotifyEvent; {
			var event syscall.InotifyEvent
			_ = binary.Read(bytes.NewReader(rest), binary.NativeEndian, &event)
			e.told[event.Wd] = e.look // of -1 if the queue was full
			rest = rest[min(len(rest), syscall.SizeofInotifyEvent+int(event.Len)):]
		}
	}
}

// Calm notes that the look found nothing new: what was told before it matters no
// more.
func (e *Events) Calm() { e.calm = e.look }

// Silent reports whether nothing was told of a directory, although it would
// have been.
func (e *Events) Silent(dir string) bool {
	w, ok := e.dirs[dir]
	return ok && w.since < e.calm && e.told[w.wd] < e.calm && e.told[-1] < e.calm
}
