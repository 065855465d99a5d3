package client

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"workspace-server/internal/workspace"
)

// Event is a change and the JSON that it was read from.
type Event = Document[workspace.Event]

// FromNow, as the number to follow the events after, stands for the last event.
const FromNow = -1

const (
	// maxLine is the longest line of a stream, in bytes.
	maxLine = 4 << 20
	// silence is how long a stream may be silent. A server says more often that it is
	// alive.
	silence = time.Minute
)

// Events passes each event after a number to fn, in order, up to the present end.
func (c *Client) Events(ctx context.Context, after int64, fn func(Event) error) error {
	for {
		var page struct {
			Items []Event
			Last  int64
		}
		in := call{method: "GET", path: []string{"events"}, query: url.Values{"after": {strconv.FormatInt(after, 10)}}}
		if err := c.do(ctx, in, &page); err != nil {
			return err
		}
		for _, e := range page.Items {
			if err := fn(e); err != nil {
				return err
			}
		}
		if len(page.Items) == 0 {
			return nil
		}
		after = page.Last
	}
}

// Follow passes each event after a number to fn once, in order, as it happens, until
// fn fails, the server refuses, or ctx is done. After the first connection it
// reconnects whenever the connection is lost, and continues after the last event that
// fn got.
func (c *Client) Follow(ctx context.Context, after int64, fn func(Event) error) error {
	s := stream{last: after, retry: firstPause}
	connected := false
	for wait := firstPause; ; {
		err := c.connect(ctx, &s, fn)
		if s.connected {
			connected, wait = true, s.retry
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.refused:
			return err
		case !connected || !passing(err):
			return err
		}
		c.retry.told(err)
		if err := c.retry.pause(ctx, max(wait, retryAfter(err))); err != nil {
			return err
		}
		wait = min(2*max(wait, firstPause), longestPause)
	}
}

// stream is the position of a reader of events.
type stream struct {
	last      int64         // the number of the last event that it saw
	retry     time.Duration // how long to wait before it reconnects, as the server says
	connected bool          // the server answered the last attempt
	refused   bool          // fn failed
}

// connect reads the stream until it ends, which is always an error.
func (c *Client) connect(ctx context.Context, s *stream, fn func(Event) error) error {
	s.connected = false
	header := http.Header{"Accept": {"text/event-stream"}}
	if s.last != FromNow {
		header.Set("Last-Event-ID", strconv.FormatInt(s.last, 10))
	}
	resp, err := c.open(ctx, call{method: "GET", path: []string{"events"}, header: header}, silence)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.connected = true
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	id, data := s.last, []byte(nil)
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				s.retry = time.Duration(ms) * time.Millisecond
			}
		case "id":
			if id, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return fmt.Errorf("the stream has an event whose number %.80q is not valid", value)
			}
		case "data":
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, value...)
		case "":
			if len(lines.Bytes()) > 0 { // a comment
				continue
			}
			if err := s.take(id, data, fn); err != nil {
				return err
			}
			data = nil
		}
	}
	return c.unreachable(ctx, cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// take passes an event to fn, and records it as seen.
func (s *stream) take(id int64, data []byte, fn func(Event) error) error {
	if data != nil && id > s.last {
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("read event %d: %w", id, err)
		}
		if err := fn(e); err != nil {
			s.refused = true
			return err
		}
	}
	s.last = max(s.last, id)
	return nil
}
