//go:build unix

package server

import (
	"net"
	"syscall"
)

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
