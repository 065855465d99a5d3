// Package listener opens the sockets that one server process after the other
// inherits. This process accepts nothing on them.
package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxBlocked bounds how long an accept may block unintentionally. Blocking mode
// belongs to the open file, which all processes share (fcntl(2)), and
// net.FileListener turns it on for a moment: an accept of another process that
// falls into that moment would block until the next connection, and so would
// closing its listener. A receive timeout (socket(7)) ends such an accept as
// if it had not blocked; others never notice it.
const maxBlocked = 20 * time.Millisecond

// Sockets are listening sockets.
type Sockets struct {
	files     []*os.File
	addresses []string
	close     func()
}

// Open listens on TCP addresses. An address that is taken gives an error that
// says so.
func Open(ctx context.Context, addresses []string) (*Sockets, error) {
	s := &Sockets{}
	s.close = sync.OnceFunc(func() {
		for _, f := range s.files {
			f.Close()
		}
	})
	for _, address := range addresses {
		f, real, err := open(ctx, address)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.files = append(s.files, f)
		s.addresses = append(s.addresses, real)
	}
	return s, nil
}

// Files returns the sockets, in the order of the addresses, for exec.Cmd's ExtraFiles.
func (s *Sockets) Files() []*os.File { return s.files }

// Addresses returns what the sockets listen on, with the real ports.
func (s *Sockets) Addresses() []string { return s.addresses }

// Close closes this process's hold on the sockets.
func (s *Sockets) Close() { s.close() }

// Listen listens on a TCP address for this process itself. An address that is
// taken gives an error that says so.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // whose accept does not heed the receive timeout
	l, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: stop the program that listens there, or choose another address", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func open(ctx context.Context, address string) (f *os.File, real string, err error) {
	l, err := Listen(ctx, address)
	if err != nil {
		return nil, "", err
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, "", fmt.Errorf("keep %s: %w", address, err)
	}
	controlErr := raw.Control(func(fd uintptr) { f, err = inheritable(int(fd), address) })
	if err := errors.Join(controlErr, err); err != nil {
		return nil, "", fmt.Errorf("keep %s: %w", address, err)
	}
	return f, l.Addr().String(), nil
}

// inheritable returns a copy of the socket that os/exec can pass on without
// turning on blocking mode, as it does with files made in non-blocking mode.
func inheritable(fd int, name string) (*os.File, error) {
	tv := syscall.NsecToTimeval(maxBlocked.Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	syscall.ForkLock.RLock()
	dup, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(dup)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	if err := syscall.SetNonblock(dup, false); err != nil {
		syscall.Close(dup)
		return nil, os.NewSyscallError("setnonblock", err)
	}
	f := os.NewFile(uintptr(dup), name)
	if err := syscall.SetNonblock(dup, true); err != nil {
		f.Close()
		return nil, os.NewSyscallError("setnonblock", err)
	}
	return f, nil
}
