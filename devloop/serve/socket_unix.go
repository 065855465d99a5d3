//go:build unix

package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// firstFD is the first passed descriptor.
const firstFD = 3

// inherit returns the n sockets that were passed. It fails, and closes all of them, if
// one is not a listening socket.
func inherit(n int) ([]Socket, error) {
	sockets := make([]Socket, n)
	var errs []error
	for i := range sockets {
		ln, err := listenerOf(firstFD + i)
		errs = append(errs, err)
		sockets[i].Listener = ln
	}
	if err := errors.Join(errs...); err != nil {
		for _, socket := range sockets {
			if socket.Listener != nil {
				_ = socket.Listener.Close()
			}
		}
		return nil, fmt.Errorf("LISTEN_FDS=%d: %w", n, err)
	}
	return sockets, nil
}

func listenerOf(fd int) (net.Listener, error) {
	syscall.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "LISTEN_FDS")
	if file == nil {
		return nil, fmt.Errorf("descriptor %d is not open: pass a socket there", fd)
	}
	defer file.Close() // FileListener has its own copy
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not a listening socket: %w", fd, err)
	}
	return ln, nil
}

// unblock puts a listening socket into non-blocking mode. The mode belongs to the
// socket, so each process that shares it can change it for all, as os/exec does when
// it passes on the result of net.TCPListener.File. An accept that blocks in the kernel
// would not notice that the listener was closed.
func unblock(ln net.Listener) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	// If this fails, so does the accept that follows, which reports why.
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetNonblock(int(fd), true) })
}

// hasInput reports whether the kernel holds unread bytes.
func hasInput(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	var buf [1]byte
	err = raw.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}
