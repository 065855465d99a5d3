package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"e2e/harness/load"
)

// An arrival is an event that a client got.
type arrival struct {
	id, data string
	at       time.Time
}

// A write is what caused an event.
type write struct {
	workspace      string
	sent, answered time.Time
}

// An audience is the clients that follow the events.
type audience struct {
	last   int64 // the event that they began after
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	failed chan error

	mu      sync.Mutex
	got     [][]arrival
	changed chan struct{}
}

// follow opens streams, half of them at each server.
func (p *platform) follow(ctx context.Context, n int) (*audience, error) {
	text, err := p.database.Run(ctx, `SELECT n FROM counters WHERE name = 'events'`)
	if err != nil {
		return nil, err
	}
	last, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the number of the last event: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{last: last, cancel: cancel, failed: make(chan error, n), got: make([][]arrival, n), changed: make(chan struct{}, 1)}
	began := make(chan struct{}, n)
	for i := range n {
		a.tasks.Go(func() {
			err := load.Follow(ctx, p.token, p.addrs[i%len(p.addrs)], last, func() { began <- struct{}{} }, func(id, data string) {
				a.arrive(i, arrival{id, data, time.Now()})
			})
			if err != nil {
				a.failed <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	for range n {
		select {
		case <-began:
		case err := <-a.failed:
			a.close()
			return nil, err
		case <-ctx.Done():
			a.close()
			return nil, context.Cause(ctx)
		}
	}
	return a, nil
}

func (a *audience) close() {
	a.cancel()
	a.tasks.Wait()
}

func (a *audience) arrive(client int, e arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got[client] = append(a.got[client], e)
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// wait waits until every client has got n events, and a moment longer for those
// that nobody caused. What is missing after some time is told by account.
func (a *audience) wait(n int) error {
	const patience, moment = 20 * time.Second, time.Second
	deadline := time.After(patience)
	for !a.have(n) {
		select {
		case <-a.changed:
		case err := <-a.failed:
			return err
		case <-deadline:
			return nil
		}
	}
	select {
	case err := <-a.failed:
		return err
	case <-time.After(moment):
		return nil
	}
}

func (a *audience) have(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !slices.ContainsFunc(a.got, func(got []arrival) bool { return len(got) < n })
}

// measureEvents makes workspaces, at the servers by turns, and takes the time
// until the clients have got the events.
func (p *platform) measureEvents(ctx context.Context, a *audience, s sizes) ([]row, error) {
	var callers []*load.Caller
	for _, addr := range p.addrs {
		c := load.NewCaller(p.token, addr)
		defer c.Close()
		if err := ask(ctx, c, http.StatusOK, nil, "GET", "/healthz", ""); err != nil { // which connects it
			return nil, err
		}
		callers = append(callers, c)
	}
	ticks := time.NewTicker(max(s.pace, 1))
	defer ticks.Stop()
	var writes []write
	for i := range s.writes {
		select {
		case <-ticks.C:
		case err := <-a.failed:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var made struct{ ID string }
		w := write{sent: time.Now()}
		body := fmt.Sprintf(`{"name": "event %d", "labels": {"team": "team-1"}}`, i)
		if err := ask(ctx, callers[i%len(callers)], http.StatusCreated, &made, "POST", "/v1/workspaces", body); err != nil {
			return nil, err
		}
		w.answered, w.workspace = time.Now(), made.ID
		writes = append(writes, w)
	}
	if err := a.wait(len(writes)); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	each, all, err := account(a.last, writes, a.got)
	if err != nil {
		return nil, err
	}
	var answers []time.Duration
	for _, w := range writes {
		answers = append(answers, w.answered.Sub(w.sent))
	}
	const target = 100 * time.Millisecond
	return []row{
		{name: "until the cause is answered", took: answers},
		{name: "until a client has it", took: each, target: target},
		{name: fmt.Sprintf("until all %d clients have it", len(a.got)), took: all, target: target},
	}, nil
}

// account fails unless every client got exactly one event for each write, in
// the order of the writes and numbered without a gap. It returns how long
// each client waited for each event, and how long the last client did.
func account(last int64, writes []write, got [][]arrival) (each, all []time.Duration, err error) {
	slowest := make([]time.Duration, len(writes))
	for client, arrivals := range got {
		for i, a := range arrivals {
			want := last + 1 + int64(i)
			var e struct {
				Seq       int64
				Type      string
				Workspace string
			}
			if err := json.Unmarshal([]byte(a.data), &e); err != nil {
				return nil, nil, fmt.Errorf("client %d: event %s: %w: %.300s", client, a.id, err, a.data)
			}
			switch {
			case a.id != strconv.FormatInt(want, 10) || e.Seq != want:
				return nil, nil, fmt.Errorf("client %d: event %s with seq %d came after %d", client, a.id, e.Seq, want-1)
			case i >= len(writes):
				return nil, nil, fmt.Errorf("client %d: no one caused event %s: %.300s", client, a.id, a.data)
			case e.Type != "workspace.created" || e.Workspace != writes[i].workspace:
				return nil, nil, fmt.Errorf("client %d: event %s is %s of %s, want workspace.created of %s", client, a.id, e.Type, e.Workspace, writes[i].workspace)
			}
			took := a.at.Sub(writes[i].sent)
			each = append(each, took)
			slowest[i] = max(slowest[i], took)
		}
		if len(arrivals) < len(writes) {
			return nil, nil, fmt.Errorf("client %d: got %d events, want %d", client, len(arrivals), len(writes))
		}
	}
	return each, slowest, nil
}
