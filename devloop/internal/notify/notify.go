// Package notify is the receiving side of systemd's readiness protocol: a
// program with NOTIFY_SOCKET in its environment sends datagrams of NAME=VALUE
// lines (sd_notify(3)).
package notify

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Variable names the environment variable that carries a Socket's path.
const Variable = "NOTIFY_SOCKET"

// maxMessage is the largest datagram read; the states used here are short.
const maxMessage = 4096

// A Socket receives the states of one process.
type Socket struct {
	conn     *net.UnixConn
	path     string
	ready    chan struct{}
	stopping chan struct{}
	done     chan struct{} // closed when receive has ended

	isReady, isStopping func() // close ready and stopping, once
}

// Listen opens a datagram socket at path, which must not exist.
func Listen(path string) (*Socket, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("open notify socket: %w", err)
	}
	s := &Socket{
		conn: conn, path: path,
		ready: make(chan struct{}), stopping: make(chan struct{}), done: make(chan struct{}),
	}
	s.isReady = sync.OnceFunc(func() { close(s.ready) })
	s.isStopping = sync.OnceFunc(func() { close(s.stopping) })
	go s.receive()
	return s, nil
}

// Path returns the value for NOTIFY_SOCKET.
func (s *Socket) Path() string { return s.path }

// Ready is closed on READY=1.
func (s *Socket) Ready() <-chan struct{} { return s.ready }

// Stopping is closed on STOPPING=1.
func (s *Socket) Stopping() <-chan struct{} { return s.stopping }

// Close takes what was sent before it, stops receiving and removes the socket.
func (s *Socket) Close() {
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // ends receive
	<-s.done
	if raw, err := s.conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			buf := make([]byte, maxMessage)
			for {
				n, _, err := syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT)
				if err != nil {
					return
				}
				s.take(buf[:n])
			}
		})
	}
	s.conn.Close()
	os.Remove(s.path)
}

func (s *Socket) receive() {
	defer close(s.done)
	buf := make([]byte, maxMessage)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return
		}
		s.take(buf[:n])
	}
}

// take understands a datagram.
func (s *Socket) take(p []byte) {
	for line := range strings.Lines(string(p)) {
		switch strings.TrimSpace(line) {
		case "READY=1":
			s.isReady()
		case "STOPPING=1":
			s.isStopping()
		}
	}
}
