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
	done     chan struct{}
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
	go s.receive()
	return s, nil
}

// Path returns the value for NOTIFY_SOCKET.
func (s *Socket) Path() string { return s.path }

// Ready is closed on READY=1.
func (s *Socket) Ready() <-chan struct{} { return s.ready }

// Stopping is closed on STOPPING=1.
func (s *Socket) Stopping() <-chan struct{} { return s.stopping }

// Close stops receiving and removes the socket.
func (s *Socket) Close() {
	s.conn.Close()
	<-s.done
	os.Remove(s.path)
}

func (s *Socket) receive() {
	defer close(s.done)
	signal := map[string]func(){
		"READY=1":    sync.OnceFunc(func() { close(s.ready) }),
		"STOPPING=1": sync.OnceFunc(func() { close(s.stopping) }),
	}
	buf := make([]byte, maxMessage)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:n])) {
			if f, ok := signal[strings.TrimSpace(line)]; ok {
				f()
			}
		}
	}
}
