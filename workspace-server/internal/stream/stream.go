// Package stream writes answers that may take longer than the server allows an
// answer. A client that does not read is cut off; one that waits is not.
package stream

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// WriteTimeout is how long a client may take to accept one write.
	WriteTimeout = 10 * time.Second

	// StopTimeout takes its place once the server stops.
	StopTimeout = 250 * time.Millisecond
)

// Writer writes an answer and moves the connection's write deadline before each
// write, however long the silence before it was.
type Writer struct {
	w        http.ResponseWriter
	conn     *http.ResponseController
	timeout  time.Duration
	stopping context.Context
	cancel   func() bool

	mu     sync.Mutex
	closed bool
}

// New returns a writer that allows each write the given timeout or, once stopping
// is done, at most StopTimeout. The caller closes it before it returns from its
// handler.
func New(stopping context.Context, w http.ResponseWriter, timeout time.Duration) *Writer {
	s := &Writer{w: w, conn: http.NewResponseController(w), timeout: timeout, stopping: stopping}
	// A write that is under way when the server stops must not last.
	s.cancel = context.AfterFunc(stopping, func() { _ = s.extend() })
	return s
}

// Extend gives the next write of an answer the given timeout. A handler that
// waits before it begins to answer calls it when the wait is over.
func Extend(w http.ResponseWriter, timeout time.Duration) error {
	return http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
}

// extend sets the deadline of the writes that follow or are under way.
func (s *Writer) extend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	timeout := s.timeout
	if s.stopping.Err() != nil {
		timeout = min(timeout, StopTimeout)
	}
	return s.conn.SetWriteDeadline(time.Now().Add(timeout))
}

// Add writes p, which may stay in a buffer. It returns false when the client
// cannot be written to, as Flush and Write do.
func (s *Writer) Add(p []byte) bool {
	if s.extend() != nil {
		return false
	}
	_, err := s.w.Write(p)
	return err == nil
}

// Flush sends what is in the buffer.
func (s *Writer) Flush() bool { return s.extend() == nil && s.conn.Flush() == nil }

// Write is Add and Flush.
func (s *Writer) Write(p []byte) bool { return s.Add(p) && s.Flush() }

// Close ends the writer's hold on the deadline: afterwards the connection belongs
// to another request. Net/http writes the end of the answer after that, so the
// end gets a whole timeout too.
func (s *Writer) Close() {
	s.cancel()
	_ = s.extend() // if that fails, so does writing
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
