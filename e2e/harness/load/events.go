package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// An event is what is checked of one.
type event struct {
	Seq       int64
	Type      string
	Workspace string
}

// A page is the answer to a long poll.
type page struct {
	Items []event
	Last  int64
}

// lastEvent returns the number of the newest event.
func (l *Load) lastEvent(ctx context.Context) (int64, error) {
	c := &client{addr: l.opts.Addr, token: l.opts.Token}
	defer c.close()
	var last int64
	for {
		resp, err := c.do(ctx, request{method: "GET", path: fmt.Sprintf("/v1/events?after=%d", last), accept: "application/json", timeout: l.opts.Patience})
		if err != nil {
			return 0, fmt.Errorf("read the last event's number: %w", err)
		}
		var p page
		if err := json.Unmarshal(resp.body, &p); err != nil || resp.status != http.StatusOK {
			return 0, fmt.Errorf("read the last event's number: status %d: %.200s", resp.status, resp.body)
		}
		if len(p.Items) == 0 {
			return last, nil
		}
		last = p.Items[len(p.Items)-1].Seq
	}
}

// A poller reads events by long polls, each from where the last one ended.
type poller struct {
	load *Load
	last int64
}

func (p *poller) step(ctx context.Context, c *client) {
	path := fmt.Sprintf("/v1/events?after=%d&wait=2", p.last)
	resp, ok := p.load.do(ctx, c, request{method: "GET", path: path, accept: "application/json"}, http.StatusOK)
	if !ok {
		return
	}
	var got page
	if err := json.Unmarshal(resp.body, &got); err != nil {
		p.load.fail(c.name, "GET "+path, fmt.Errorf("%w: %.200s", err, resp.body))
		return
	}
	for _, e := range got.Items {
		if e.Seq != p.last+1 {
			p.load.fail(c.name, "GET "+path, fmt.Errorf("%w: %d after %d", errNotNext, e.Seq, p.last))
		}
		p.last = e.Seq
	}
}

// A subscriber reads the event stream, and connects again from the last event
// that it saw whenever the stream ends.
type subscriber struct {
	load    *Load
	name    string
	streams int
	changed chan struct{}

	// Guarded by load.mu.
	last    int64
	seen    int
	created map[string]bool
}

// run reads until the clients are done and everything they made has been seen.
func (s *subscriber) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		<-s.load.quiet
		deadline := time.After(s.load.opts.Patience)
		for s.load.missing(s) {
			select {
			case <-s.changed:
			case <-deadline:
				return
			}
		}
	}()
	for ctx.Err() == nil {
		err := s.read(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.load.fail(s.name, "GET /v1/events", err)
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// read reads one stream to its end, which is not a failure if the server ended it
// in due form.
func (s *subscriber) read(ctx context.Context) error {
	c := &client{name: s.name, addr: s.load.opts.Addr, token: s.load.opts.Token}
	defer c.close()
	return c.follow(ctx, s.last, s.load.opts.Patience, func() { s.streams++ }, func(id, data string) {
		if err := s.event(id, data); err != nil {
			s.load.fail(s.name, "watch events", err)
		}
	})
}

func (s *subscriber) event(id, data string) error {
	seq, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return fmt.Errorf("id %q: %w", id, err)
	}
	var e event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return fmt.Errorf("event %d: %w: %.200s", seq, err, data)
	}
	s.load.mu.Lock()
	defer s.load.mu.Unlock()
	before := s.last
	s.last = seq
	s.seen++
	s.created[e.Workspace] = true
	select {
	case s.changed <- struct{}{}:
	default:
	}
	switch {
	case seq != before+1:
		return fmt.Errorf("%w: %d after %d", errNotNext, seq, before)
	case e.Seq != seq:
		return errors.New("id " + id + " differs from the event's seq: " + data)
	}
	return nil
}
