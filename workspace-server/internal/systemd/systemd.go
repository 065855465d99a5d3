// Package systemd speaks the service manager's two protocols: a listening socket that
// the process inherits, and notices about the process's state. Any supervisor that
// follows them can run the server and replace it without loss.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Notices, as in sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// firstFD is the first passed descriptor.
const firstFD = 3

// Environment is what the service manager passed in variables.
type Environment struct {
	fds, pid string
	notify   string
}

// Take reads the protocols' variables and unsets them, so that child processes do not
// take them for theirs.
func Take(getenv func(string) string, unset func(string) error) (Environment, error) {
	env := Environment{
		fds:    getenv("LISTEN_FDS"),
		pid:    getenv("LISTEN_PID"),
		notify: getenv("NOTIFY_SOCKET"),
	}
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"} {
		if err := unset(name); err != nil {
			return Environment{}, err
		}
	}
	return env, nil
}

// Listener returns the passed socket, or nil without one. LISTEN_PID may be missing,
// since a supervisor cannot know it before the start. If it is another process's, the
// socket is not ours.
func (e Environment) Listener() (net.Listener, error) {
	if e.fds == "" || e.pid != "" && e.pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if e.fds != "1" {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not accepted: pass exactly one socket", e.fds)
	}
	syscall.CloseOnExec(firstFD)
	file := os.NewFile(firstFD, "LISTEN_FDS")
	if file == nil {
		return nil, fmt.Errorf("LISTEN_FDS=1, but descriptor %d is not open: pass the socket there", firstFD)
	}
	defer file.Close() // FileListener has its own copy
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS=1, but descriptor %d is not a listening socket: %w", firstFD, err)
	}
	return ln, nil
}

// Notify sends a notice if the service manager asked for notices.
func (e Environment) Notify(state string) error {
	if e.notify == "" {
		return nil
	}
	// A leading @ stands for the abstract namespace, for net as for systemd.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: e.notify, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("send %s to NOTIFY_SOCKET: %w", state, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("send %s to NOTIFY_SOCKET: %w", state, err)
	}
	return nil
}
