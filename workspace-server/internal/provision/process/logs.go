package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxLog is how much of what an agent writes is kept: two files, each of which
// has at most half of it.
const maxLog = 10 << 20

// followEvery is how often a log is read that is followed.
const followEvery = 50 * time.Millisecond

// log is an agent's log as its keeper writes it.
type log struct {
	dir   string
	limit int64 // of a file
	f     *os.File
	size  int64
}

func openLog(dir string, limit int64) (*log, error) {
	l := &log{dir: dir, limit: limit / 2}
	return l, l.open()
}

func (l *log) open() (err error) {
	l.f, err = os.OpenFile(filepath.Join(l.dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := l.f.Stat()
	if err != nil {
		return errors.Join(err, l.f.Close())
	}
	l.size = info.Size()
	return nil
}

// Write never fails: an agent does not end because its log cannot be written.
func (l *log) Write(p []byte) (int, error) {
	if l.size > 0 && l.size+int64(len(p)) > l.limit {
		_ = l.f.Close()
		_ = os.Rename(filepath.Join(l.dir, logFile), filepath.Join(l.dir, olderLog))
		if err := l.open(); err != nil {
			l.size = l.limit // try again with the next
			return len(p), nil
		}
	}
	n, _ := l.f.Write(p)
	l.size += int64(n)
	return len(p), nil
}

func (l *log) Close() error { return l.f.Close() }

// Logs is described at provision.Provisioner. Of a log that grows faster than it
// is read, parts are left out.
func (d *Driver) Logs(ctx context.Context, workspace string, tail int, follow bool) (io.ReadCloser, error) {
	k, err := d.find(ctx, workspace)
	if err != nil {
		return nil, err
	}
	r, err := openLogs(ctx, k, tail, follow)
	if errors.Is(err, fs.ErrNotExist) {
		// It was removed, or a later one took its place.
		if k, err = d.find(ctx, workspace); err == nil {
			r, err = openLogs(ctx, k, tail, follow)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the log of workspace %s: %w", workspace, err)
	}
	return r, nil
}

// reader reads the older file, and then the newer one.
type reader struct {
	ctx    context.Context // of the caller, until Close
	dir    string
	follow bool
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex // held by Read
	alive *os.File   // tells when the agent has ended
	files []*os.File // the first is read; the last is the newest that is known
}

func openLogs(ctx context.Context, k kept, tail int, follow bool) (_ *reader, err error) {
	r := &reader{ctx: ctx, dir: k.dir(), follow: follow, closed: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.alive, err = os.Open(filepath.Join(r.dir, aliveFile)); err != nil {
		return nil, err
	}
	if r.files, err = openFiles(r.dir); err != nil {
		return nil, err
	}
	return r, seekLines(r.files, tail)
}

// openFiles opens both files, or the one that there is.
func openFiles(dir string) ([]*os.File, error) {
	newer, err := os.Open(filepath.Join(dir, logFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	older, err := os.Open(filepath.Join(dir, olderLog))
	switch {
	case err == nil && newer != nil && !same(older, newer):
		return []*os.File{older, newer}, nil
	case err == nil && newer != nil: // it has been renamed meanwhile
		return []*os.File{newer}, older.Close()
	case err == nil:
		return []*os.File{older}, nil
	case newer != nil && errors.Is(err, fs.ErrNotExist):
		return []*os.File{newer}, nil
	case newer != nil:
		return nil, errors.Join(err, newer.Close())
	}
	return nil, err
}

func same(a, b *os.File) bool {
	ai, err := a.Stat()
	if err != nil {
		return false
	}
	bi, err := b.Stat()
	return err == nil && os.SameFile(ai, bi)
}

// seekLines sets the files to where their last n lines begin; all, if n is
// negative.
func seekLines(files []*os.File, n int) error {
	if n < 0 {
		return nil
	}
	buf := make([]byte, 64<<10)
	lines, last := 0, byte('\n')
	for _, f := range files {
		for {
			got, err := f.Read(buf)
			if got > 0 {
				lines, last = lines+bytes.Count(buf[:got], []byte{'\n'}), buf[got-1]
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return nil
	}
	if last != '\n' {
		lines++
	}
	skip := lines - n
	for _, f := range files {
		at, err := skipLines(f, buf, &skip)
		if err != nil {
			return err
		}
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
	}
	return nil
}

// skipLines returns where a file goes on after that many lines, or its end.
func skipLines(f *os.File, buf []byte, skip *int) (at int64, err error) {
	for *skip > 0 {
		n, err := f.ReadAt(buf, at)
		for part := buf[:n]; *skip > 0 && len(part) > 0; {
			i := bytes.IndexByte(part, '\n')
			if i < 0 {
				at += int64(len(part))
				break
			}
			*skip--
			at += int64(i + 1)
			part = part[i+1:]
		}
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return at, nil
}

// Read reads on until the end of what is there, or of the agent.
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case <-r.closed:
			return 0, fs.ErrClosed
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		default:
		}
		// The keeper ends after the last line was written.
		running, err := locked(r.alive)
		if err != nil {
			return 0, err
		}
		n, err := r.files[0].Read(p)
		if n > 0 || len(p) == 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if len(r.files) > 1 {
			if err := r.files[0].Close(); err != nil {
				return 0, err
			}
			r.files = r.files[1:]
			continue
		}
		if !r.follow {
			return 0, io.EOF
		}
		// What was written to this file before the next was made is still read
		// first.
		if next, err := r.next(); next || err != nil {
			if err != nil {
				return 0, err
			}
			continue
		}
		if !running {
			return 0, io.EOF
		}
		select {
		case <-time.After(followEvery):
		case <-r.closed:
		case <-r.ctx.Done():
		}
	}
}

// next opens what comes after the only file, if there is anything.
func (r *reader) next() (bool, error) {
	files, err := openFiles(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // removed
	}
	if err != nil {
		return false, err
	}
	for i, f := range files {
		if same(f, r.files[0]) {
			for _, known := range files[:i+1] {
				err = errors.Join(err, known.Close())
			}
			files = files[i+1:]
			break
		}
	}
	r.files = append(r.files, files...)
	return len(files) > 0, err
}

// Close ends a Read, too.
func (r *reader) Close() (err error) {
	r.once.Do(func() {
		close(r.closed)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, f := range append(r.files, r.alive) {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	})
	return err
}
