package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"workspace-server/internal/workspace"
)

const (
	// A client that does not read is cut off after writeTimeout, and when the
	// server stops after stopTimeout.
	streamWriteTimeout = 10 * time.Second
	streamStopTimeout  = 250 * time.Millisecond
)

// streamEvents writes events as they happen until the client or the server
// goes. It begins with the place that it starts from, so that a client that
// got no event yet still reconnects without a gap.
func (a *api) streamEvents(w http.ResponseWriter, r *http.Request, after int64) error {
	c, of := callerOf(r), visible(r)
	sub := a.Feed.Subscribe()
	defer sub.Close()
	a.streams.Add(1)
	defer a.streams.Add(-1)

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// The next request must not come on this connection: when a stream ends,
	// the server behind it ends too.
	h.Set("Connection", "close")
	out := newStream(w, a.Stopping)
	defer out.close()

	retry := fmt.Sprintf("retry: %d\n", a.Retry.Milliseconds())
	if !out.write(fmt.Sprintf("%sid: %d\n\n", retry, after)) {
		return nil
	}
	told := after // the number that the client would come back with
	beat := time.NewTicker(a.Heartbeat)
	defer beat.Stop()
	for {
		next, err := a.Tail.After(r.Context(), of, after)
		if workspace.KindOf(err) == workspace.Gone {
			return nil // which the client is told when it comes back
		}
		if err != nil {
			// The answer has begun, so the edge can only cut it short; the
			// client then reconnects and continues.
			return err
		}
		for _, e := range next.Events {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if !out.add(frame(e, data)) {
				return nil
			}
			told = e.Seq
		}
		after = next.UpTo
		if len(next.Events) > 0 && !out.flush() {
			return nil
		}
		if next.More && a.Stopping.Err() == nil {
			continue
		}
		sub.Seen(after)
		select {
		case <-sub.C:
		case <-beat.C:
			if err := a.still(r.Context(), c); err != nil {
				return err
			}
			alive := ": alive\n"
			if told != after {
				told = after
				alive += fmt.Sprintf("id: %d\n", told)
			}
			if !out.write(alive + "\n") {
				return nil
			}
		case <-r.Context().Done():
			return nil
		case <-a.Stopping.Done():
			out.write(retry + "\n")
			return nil
		}
	}
}

// stream writes with a deadline, which becomes short when the server stops.
type stream struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	stopping context.Context
	cancel   func() bool

	mu     sync.Mutex
	closed bool
}

func newStream(w http.ResponseWriter, stopping context.Context) *stream {
	s := &stream{w: w, rc: http.NewResponseController(w), stopping: stopping}
	// A write that is under way when the server stops must not last.
	s.cancel = context.AfterFunc(stopping, func() { _ = s.extend() })
	return s
}

// extend sets the deadline of the writes that follow, or are under way.
func (s *stream) extend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	timeout := streamWriteTimeout
	if s.stopping.Err() != nil {
		timeout = streamStopTimeout
	}
	return s.rc.SetWriteDeadline(time.Now().Add(timeout))
}

// add, flush and write return false when the client cannot be written to.
func (s *stream) add(text string) bool {
	if s.extend() != nil {
		return false
	}
	_, err := s.w.Write([]byte(text))
	return err == nil
}

func (s *stream) flush() bool { return s.extend() == nil && s.rc.Flush() == nil }

func (s *stream) write(text string) bool { return s.add(text) && s.flush() }

// close keeps the deadline from being set after the answer has ended, when the
// connection is no longer the stream's. The end itself is written after that, and
// gets as long as what went before.
func (s *stream) close() {
	s.cancel()
	_ = s.extend() // if that fails, so does writing
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
