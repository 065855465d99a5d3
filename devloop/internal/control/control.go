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
)

// What can be asked for.
const (
	Build  = "build"  // build, and swap if that changed the program
	Swap   = "swap"   // run this binary from now on; lasts until another one is asked for
	Notice = "notice" // print a line
	Status = "status" // say what serves
	Wait   = "wait"   // as Status, once something serves
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
}

// A State is what Status tells.
type State struct {
	PID      int      `json:"pid"`     // the serving process, or 0
	Loop     int      `json:"loop"`    // the process of "devloop up"
	Root     string   `json:"root"`    // where it was started
	Listen   []string `json:"listen"`  // addresses it holds
	Reloads  int      `json:"reloads"` // swaps since it was started
	Building bool     `json:"building"`
	Failure  string   `json:"failure,omitempty"` // why the last build or start failed
}

// ErrNoLoop means that no "devloop up" runs for a directory.
var ErrNoLoop = errors.New("no 'devloop up' is running here")

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
	dir := dirFor(getenv, root)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the runtime directory: %w", err)
	}
	if err := private(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer lock.Close()
		pid, _ := os.ReadFile(path)
		return nil, fmt.Errorf("a loop runs in %s already (process %s): stop that one first", root, pid)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // sockets of a loop that was killed
		if e.Name() != "lock" {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	_ = lock.Truncate(0)
	_, _ = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return &Place{dir, lock}, nil
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

// Socket returns the control socket's path.
func (p *Place) Socket() string { return filepath.Join(p.Dir, "control") }

// Release removes the place.
func (p *Place) Release() {
	os.RemoveAll(p.Dir)
	os.Remove(filepath.Dir(p.Dir)) // if it was the last
	p.lock.Close()
}

// Find returns the socket of the loop that was started in dir or above it.
func Find(getenv func(string) string, dir string) (string, error) {
	for {
		socket := filepath.Join(dirFor(getenv, dir), "control")
		if _, err := os.Stat(socket); err == nil {
			return socket, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrNoLoop
		}
		dir = parent
	}
}

// Call sends a request to the loop for dir and waits for the reply. It returns
// ErrNoLoop if there is none, or if it is gone.
func Call(ctx context.Context, getenv func(string) string, dir string, r Request) (Reply, error) {
	socket, err := Find(getenv, dir)
	if err != nil {
		return Reply{}, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return Reply{}, ErrNoLoop
	}
	if err != nil {
		return Reply{}, fmt.Errorf("reach the loop: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Reply{}, fmt.Errorf("ask the loop: %w", err)
	}
	var reply Reply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return Reply{}, cause
		}
		return Reply{}, ErrNoLoop
	}
	return reply, nil
}

// Serve answers requests on the listener until it is closed. The context that
// handle gets ends when the sender goes away.
func Serve(ctx context.Context, l net.Listener, handle func(context.Context, Request) Reply) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
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
