// Package control is how devloop's commands reach the running "devloop up": a
// Unix socket that only its user can open. A request is one line of JSON, the
// reply another; the connection stays open for as long as the request lasts.
package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// What can be asked for.
const (
	Build   = "build"   // build, and swap if that changed the program
	Run     = "run"     // serve this binary from now on; lasts until another one is asked for
	Command = "command" // run air's build command, unless nothing was edited
	Notice  = "notice"  // print a line
	Status  = "status"  // return what serves
	Wait    = "wait"    // as Status, once something serves
	Follow  = "follow"  // what was printed after a place, once there is something
)

// A Request is one line sent to the loop.
type Request struct {
	Op   string
	Dir  string   // the sender's working directory
	Args []string // the command's arguments
	Env  []string // the sender's environment
}

// A Reply is the answer.
type Reply struct {
	Code  int    // exit code for the sender
	Error string // what to print, if anything
	State *State `json:",omitempty"`
	Text  string `json:",omitempty"` // what was printed
	Next  int64  `json:",omitempty"` // the place after it
}

// A State is what Status tells.
type State struct {
	PID      int      `json:"pid"`                // the serving process, or 0
	Loop     int      `json:"loop"`               // the process of "devloop up"
	Root     string   `json:"root"`               // where it was started
	Listen   []string `json:"listen"`             // addresses it holds
	Announce string   `json:"announce,omitempty"` // where the server is reached, for people
	Mode     string   `json:"mode"`               // how connections come to the server: auto until that is known
	Old      []Old    `json:"old,omitempty"`      // replaced processes that still have something to do
	Reloads  int      `json:"reloads"`            // swaps since it was started
	Building bool     `json:"building"`
	Debug    string   `json:"debug,omitempty"`    // address for debuggers
	Debugger string   `json:"debugger,omitempty"` // who is attached
	Failure  string   `json:"failure,omitempty"`  // why the last build or start failed
}

// An Old process was replaced and still has something to do.
type Old struct {
	PID         int       `json:"pid"`
	Replaced    time.Time `json:"replaced"`
	Until       time.Time `json:"until"` // when it is ended whatever it has to do
	Requests    int       `json:"requests"`
	Streams     int       `json:"streams"`     // upgraded connections, such as WebSockets
	Connections int       `json:"connections"` // where what they carry is not known
}

var (
	// ErrNoLoop means that no "devloop up" runs for a directory.
	ErrNoLoop = errors.New("no 'devloop up' is running here")
	// ErrEnded means that it ended while it was asked.
	ErrEnded = errors.New("'devloop up' has ended")
)

// A Place is where the loop of one directory keeps its sockets.
type Place struct {
	Dir  string // private directory
	lock *os.File
}

// dirFor names the private directory for a loop started in root. It is short,
// since a socket's path may have only 107 bytes (unix(7)).
func dirFor(getenv func(string) string, root string) string {
	base := getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = os.TempDir()
	}
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(base, "devloop-"+strconv.Itoa(os.Getuid()), hex.EncodeToString(sum[:6]))
}

// Claim takes the place for root, or says who has it.
func Claim(getenv func(string) string, root string) (*Place, error) {
	const tries = 100
	dir := dirFor(getenv, root)
	for try := 1; ; try++ {
		lock, err := lockIn(dir, root)
		if errors.Is(err, fs.ErrNotExist) && try < tries {
			continue // a loop that ended at this moment has removed it
		}
		if err != nil {
			return nil, err
		}
		_ = lock.Truncate(0)
		_, _ = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
		p := &Place{dir, lock}
		p.clear() // the sockets of a loop that was killed
		return p, nil
	}
}

const lockName = "lock"

// lockIn makes the directory and locks it. The error is fs.ErrNotExist if
// another process removed it meanwhile.
func lockIn(dir, root string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(filepath.Dir(dir)), 0o700); err != nil {
		return nil, fmt.Errorf("make the runtime directory: %w", err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the runtime directory: %w", err)
		}
		if err := private(d); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, lockName)
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer lock.Close()
		pid, _ := os.ReadFile(path)
		return nil, fmt.Errorf("a loop runs in %s already (process %s): stop that one first", root, pid)
	}
	// A lock on a file that its last owner has removed keeps no one out.
	locked, err := lock.Stat()
	if err == nil {
		var named fs.FileInfo
		if named, err = os.Stat(path); err == nil && !os.SameFile(locked, named) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return lock, nil
}

// private refuses a directory that another user could have prepared.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || (ok && int(st.Uid) != os.Getuid()) {
		return fmt.Errorf("%s is not a private directory of this user: remove it, or set XDG_RUNTIME_DIR", dir)
	}
	return nil
}

const socketName = "control"

// Socket returns the control socket's path.
func (p *Place) Socket() string { return filepath.Join(p.Dir, socketName) }

// Release removes the place.
func (p *Place) Release() {
	p.clear()
	// From here on, another loop may have the place: what is not empty stays.
	os.Remove(filepath.Join(p.Dir, lockName))
	os.Remove(p.Dir)
	os.Remove(filepath.Dir(p.Dir))
	p.lock.Close()
}

// clear removes everything but the lock.
func (p *Place) clear() {
	entries, _ := os.ReadDir(p.Dir)
	for _, e := range entries {
		if e.Name() != lockName {
			os.RemoveAll(filepath.Join(p.Dir, e.Name()))
		}
	}
}

// dial connects to the loop that was started in dir or above it. Where a loop
// was killed, its socket is still there, and no one listens.
func dial(ctx context.Context, getenv func(string) string, dir string) (net.Conn, error) {
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", filepath.Join(dirFor(getenv, dir), socketName))
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("reach the loop: %w", err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil, ErrNoLoop
		}
		dir = parent
	}
}

// Call sends a request to the loop for dir and waits for the reply. It returns
// ErrNoLoop if there is none, and ErrEnded if it ended before it replied.
func Call(ctx context.Context, getenv func(string) string, dir string, r Request) (Reply, error) {
	conn, err := dial(ctx, getenv, dir)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var reply Reply
	err = json.NewEncoder(conn).Encode(r)
	if err == nil {
		err = json.NewDecoder(conn).Decode(&reply)
	}
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil:
		return Reply{}, context.Cause(ctx)
	default:
		return Reply{}, ErrEnded
	}
}

// Serve answers requests on the listener until it is closed. The context that
// handle gets ends when the sender goes away.
func Serve(ctx context.Context, l net.Listener, handle func(context.Context, Request) Reply) {
	const retry = 50 * time.Millisecond // for want of descriptors, most likely
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			time.Sleep(retry)
			continue
		}
		go serve(ctx, conn, handle)
	}
}

func serve(ctx context.Context, conn net.Conn, handle func(context.Context, Request) Reply) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var r Request
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return
	}
	go func() {
		defer cancel()
		var one [1]byte
		_, _ = conn.Read(one[:]) // returns when the sender is gone
	}()
	_ = json.NewEncoder(conn).Encode(handle(ctx, r))
}
