// Package sockets looks at the TCP sockets of another process, as Linux shows
// them below /proc. Elsewhere, and for a process that may not be looked at,
// there is nothing to see: ErrHidden.
package sockets

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// ErrHidden means that the system does not show the process's sockets.
var ErrHidden = errors.New("the system does not show the sockets of that process")

// An Inode identifies a socket, in whichever processes it is open.
type Inode uint64

// Of returns the inode of an open socket.
func Of(f *os.File) (Inode, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, ErrHidden
	}
	return Inode(st.Ino), nil
}

// A View is what a process has to do with TCP, at one moment.
type View struct {
	Awaited   []Inode // what its pollers wait on; a Go program's do for each listener
	Listening []Socket
	Connected []Socket // also those that the other side has closed
}

// A Socket is one that the process has open.
type Socket struct {
	Inode Inode
	Local netip.AddrPort
}

// Awaits reports whether the process waits on the socket.
func (v View) Awaits(i Inode) bool { return slices.Contains(v.Awaited, i) }

// Without returns the view without some of the listening sockets.
func (v View) Without(inodes ...Inode) View {
	v.Listening = slices.DeleteFunc(slices.Clone(v.Listening), func(s Socket) bool { return slices.Contains(inodes, s.Inode) })
	return v
}

// ListensOn returns the socket on which the process itself listens at a port, if
// any. An IPv4 address goes before the others.
func (v View) ListensOn(port uint16) (Socket, bool) {
	var found Socket
	for _, s := range v.Listening {
		if s.Local.Port() == port && (!found.Local.IsValid() || s.Local.Addr().Unmap().Is4()) {
			found = s
		}
	}
	return found, found.Local.IsValid()
}

// ConnectedTo counts the connections that came in at one of the ports.
func (v View) ConnectedTo(ports ...uint16) int {
	n := 0
	for _, s := range v.Connected {
		if slices.Contains(ports, s.Local.Port()) {
			n++
		}
	}
	return n
}
