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

// maxLog is how much of an agent's log is kept, in bytes: two files of at most half
// of it each.
const maxLog = 10 << 20

// followEvery is how often a reader that follows a log looks for more.
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

// Write never fails: an agent must not end because its log cannot be written.
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

// Logs implements provision.Provisioner. If the log grows faster than it is read,
// parts are left out.
func (d *Driver) Logs(ctx context.Context, workspace string, tail int, follow bool) (io.ReadCloser, error) {
	current, err := d.find(ctx, workspace)
	if err != nil {
		return nil, err
	}
	r, err := openLogs(ctx, current.dir(), tail, follow)
	if errors.Is(err, fs.ErrNotExist) {
		// It was removed, or a later one took its place.
		if current, err = d.find(ctx, workspace); err == nil {
			r, err = openLogs(ctx, current.dir(), tail, follow)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the log of workspace %s: %w", workspace, err)
	}
	return r, nil
}

// reader reads the older file of a log, and then the newer one.
type reader struct {
	ctx    context.Context // of the caller, until Close
	dir    string          // of the generation
	follow bool
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex // held by Read
	alive *os.File   // locked until the agent has ended
	files []*os.File // the first is read; the last is the newest known
}

func openLogs(ctx context.Context, dir string, tail int, follow bool) (_ *reader, err error) {
	r := &reader{ctx: ctx, dir: dir, follow: follow, closed: make(chan struct{})}
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

// openFiles opens both files of a log, or the only one.
func openFiles(dir string) ([]*os.File, error) {
	newer, err := os.Open(filepath.Join(dir, logFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	older, err := os.Open(filepath.Join(dir, olderLog))
	switch {
	case err == nil && newer != nil && !same(older, newer):
		return []*os.File{older, newer}, nil
	case err == nil && newer != nil: // the keeper has renamed it meanwhile
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

// seekLines moves the files to where their last n lines begin; all, if n is
// negative.
func seekLines(files []*os.File, n int) error {
	if n < 0 {
		return nil
	}
	buf := make([]byte, 64<<10)
	lines, err := countLines(files, buf) // which leaves the files at their ends
	if err != nil || n == 0 {
		return err
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

// countLines reads files to their ends, and counts a last line without an end, too.
func countLines(files []*os.File, buf []byte) (int, error) {
	lines, last := 0, byte('\n')
	for _, f := range files {
		for {
			n, err := f.Read(buf)
			if n > 0 {
				lines, last = lines+bytes.Count(buf[:n], []byte{'\n'}), buf[n-1]
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return 0, err
			}
		}
	}
	if last != '\n' {
		lines++
	}
	return lines, nil
}

// skipLines returns the offset after that many lines of a file, or its end, and
// takes the lines that it skipped from skip.
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

// Read waits for more while it follows an agent that runs. It fails with
// fs.ErrClosed once the reader is closed, and with the caller's context.
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if err := r.ended(); err != nil {
			return 0, err
		}
		// This comes before the read: a keeper ends after it wrote the last line, so
		// if it does not run now, what is read now is all.
		running, err := locked(r.alive)
		if err != nil {
			return 0, err
		}
		n, err := r.files[0].Read(p)
		if n > 0 || len(p) == 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		more, err := r.advance()
		switch {
		case err != nil:
			return 0, err
		case more:
		case !r.follow || !running:
			return 0, io.EOF
		default:
			r.pause()
		}
	}
}

// ended returns why the reader reads no more, or nil.
func (r *reader) ended() error {
	select {
	case <-r.closed:
		return fs.ErrClosed
	case <-r.ctx.Done():
		return r.ctx.Err()
	default:
		return nil
	}
}

// pause waits until there may be more to read.
func (r *reader) pause() {
	select {
	case <-time.After(followEvery):
	case <-r.closed:
	case <-r.ctx.Done():
	}
}

// advance goes on to the next file, once the first is read to its end. It reports
// whether there may be more to read at once: the keeper may have written to the
// last file just before it began a new one, so that file is read once more.
func (r *reader) advance() (bool, error) {
	if len(r.files) > 1 {
		err := r.files[0].Close()
		r.files = r.files[1:]
		return true, err
	}
	if !r.follow {
		return false, nil
	}
	return r.openNext()
}

// openNext opens the files that the keeper began after the only one, and reports
// whether there are any.
func (r *reader) openNext() (bool, error) {
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

// Close ends a Read that waits, too.
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
