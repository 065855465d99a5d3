package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// What a process tells its service manager; see sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// A Manager is the service manager that started this process: systemd, "devloop up",
// or none. The zero value is none.
type Manager struct {
	// Sockets are the listening sockets that the process inherited, in the order in
	// which they were passed.
	Sockets []Socket

	notify string // the address of the socket for notices
}

// A Socket is a listening socket that was passed to this process.
type Socket struct {
	Name     string // from LISTEN_FDNAMES, or ""
	Listener net.Listener
}

// Take takes over what the service manager passed, and removes its variables from the
// environment, so that child processes do not take it for theirs. A program calls it
// once, with [os.Getenv] and [os.Unsetenv], before it starts any process.
//
// LISTEN_PID may be missing, since a manager cannot know it before the start. If it is
// another process's, the sockets are not ours.
func Take(getenv func(string) string, unsetenv func(string) error) (*Manager, error) {
	count, pid, names := getenv("LISTEN_FDS"), getenv("LISTEN_PID"), getenv("LISTEN_FDNAMES")
	m := &Manager{notify: getenv("NOTIFY_SOCKET")}
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"} {
		if err := unsetenv(name); err != nil {
			return nil, fmt.Errorf("take the service manager's variables: %w", err)
		}
	}
	if count == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxSockets {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not accepted: it must be the number of the sockets, at most %d", count, maxSockets)
	}
	if m.Sockets, err = inherit(n); err != nil {
		return nil, err
	}
	for i, name := range strings.Split(names, ":") {
		if i < n {
			m.Sockets[i].Name = name
		}
	}
	return m, nil
}

// maxSockets is far more than a program has, and keeps a wrong number from costing time.
const maxSockets = 1000

// Listen returns the socket that was passed, or opens the TCP address if none was. It
// fails if several were passed: [Manager.ListenAll] and Sockets are for those.
func (m *Manager) Listen(ctx context.Context, address string) (net.Listener, error) {
	listeners, err := m.ListenAll(ctx, address)
	if err != nil {
		return nil, err
	}
	return listeners[0], nil
}

// ListenAll returns the sockets that were passed, one for each address and in their
// order, or opens the TCP addresses if none was passed. It fails, and closes all, if
// the numbers differ: an address that only this process holds cannot be handed over.
func (m *Manager) ListenAll(ctx context.Context, addresses ...string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, socket := range m.Sockets {
		listeners = append(listeners, socket.Listener)
	}
	if len(listeners) == 0 {
		for _, address := range addresses {
			ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
			if err != nil {
				return nil, errors.Join(err, closeAll(listeners))
			}
			listeners = append(listeners, ln)
		}
		return listeners, nil
	}
	if len(listeners) != len(addresses) {
		err := fmt.Errorf("LISTEN_FDS=%d, but this program listens on %d addresses (%s): pass one socket for each, in this order",
			len(listeners), len(addresses), strings.Join(addresses, ", "))
		return nil, errors.Join(err, closeAll(listeners))
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, ln := range listeners {
		errs = append(errs, ln.Close())
	}
	return errors.Join(errs...)
}

// Notify tells the service manager a state, such as [Ready], if it asked for notices by
// NOTIFY_SOCKET. Otherwise Notify does nothing.
func (m *Manager) Notify(state string) error {
	if m.notify == "" {
		return nil
	}
	// A leading @ stands for the abstract namespace, for net as for systemd.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.notify, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("send %s to NOTIFY_SOCKET: %w", state, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("send %s to NOTIFY_SOCKET: %w", state, err)
	}
	return nil
}
