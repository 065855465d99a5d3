// Package load keeps a workspace-server under constant load from many clients
// and accounts for every request and every event.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a request may take by default. It is far beyond what a
// reload makes one wait, so a hang differs from a failure.
const patience = time.Minute

// Options say what to load and how.
type Options struct {
	Addr     string        // host:port
	Token    string        // of an administrator; not used if Light
	Light    bool          // a few clients that only read, for measurements
	Pace     time.Duration // pause of a client between requests; 0: 40 ms
	Patience time.Duration // how long a request may take; 0: a minute
	// Version reads which edit a body of /healthz comes from. May be nil.
	Version func(body []byte) (int, bool)
}

// A Failure is a request that was lost, or an answer that is wrong.
type Failure struct {
	At     time.Time
	Client string
	Doing  string
	Err    error
}

func (f Failure) String() string {
	return fmt.Sprintf("%s  %s: %s: %v", f.At.Format("15:04:05.000"), f.Client, f.Doing, f.Err)
}

// A Report is what a load came to.
type Report struct {
	Requests map[string]int // answered, by what they were
	Slowest  time.Duration  // of a request that should be answered at once
	Failures []Failure      // in the order of time
	Rested   int            // requests that failed after a long rest, see late
	Created  int            // workspaces that were made
	Events   int            // that every subscriber saw
	Streams  int            // connections that the subscribers made
}

// Total returns the number of answered requests.
func (r Report) Total() int {
	n := 0
	for _, k := range r.Requests {
		n += k
	}
	return n
}

// restedTooOften returns an error if more requests failed after a long rest than a
// machine that is too busy now and then explains.
func (r Report) restedTooOften() error {
	if most := 1 + r.Total()/10_000; r.Rested > most {
		return fmt.Errorf("%d of %d requests failed after a long rest, want at most %d", r.Rested, r.Total(), most)
	}
	return nil
}

func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d failed, %d after a rest, slowest %d ms; %d events over %d streams", r.Total(), len(r.Failures), r.Rested, r.Slowest.Milliseconds(), r.Events, r.Streams)
	for _, k := range slices.Sorted(maps.Keys(r.Requests)) {
		fmt.Fprintf(&b, "; %d %s", r.Requests[k], k)
	}
	return b.String()
}

// A Load runs until Stop.
type Load struct {
	opts   Options
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the clients, but those that poll
	unpoll context.CancelFunc
	polls  sync.WaitGroup // these
	quiet  chan struct{}  // closed when they are done
	subs   []*subscriber
	reads  sync.WaitGroup // the subscribers
	floor  atomic.Int64   // a new connection must not see an older version

	mu     sync.Mutex
	report Report
	made   map[string]bool // ids of workspaces whose creation was answered
}

// Start starts the clients: 18 of them, of which 2 subscribe to events.
func Start(ctx context.Context, opts Options) (*Load, error) {
	if opts.Pace == 0 {
		opts.Pace = 40 * time.Millisecond
	}
	if opts.Patience == 0 {
		opts.Patience = patience
	}
	ctx, cancel := context.WithCancel(ctx)
	polling, unpoll := context.WithCancel(ctx)
	l := &Load{opts: opts, cancel: cancel, unpoll: unpoll, made: map[string]bool{}, quiet: make(chan struct{})}
	l.report.Requests = map[string]int{}
	if opts.Light {
		for i := range 4 {
			l.run(ctx, &l.tasks, fmt.Sprintf("get %d", i), func(ctx context.Context, c *client) { l.health(ctx, c, true) })
		}
		return l, nil
	}
	last, err := l.lastEvent(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	type kind struct {
		name string
		n    int
		step func(context.Context, *client)
	}
	for _, k := range []kind{
		{"GET /healthz close", 2, func(ctx context.Context, c *client) { l.health(ctx, c, true) }},
		{"GET /healthz keep-alive", 2, func(ctx context.Context, c *client) { l.health(ctx, c, false) }},
		{"GET mixed keep-alive", 2, func(ctx context.Context, c *client) { l.read(ctx, c, false) }},
		{"GET mixed close", 1, func(ctx context.Context, c *client) { l.read(ctx, c, true) }},
		{"POST keep-alive", 3, func(ctx context.Context, c *client) { l.create(ctx, c, request{}) }},
		{"POST close", 2, func(ctx context.Context, c *client) { l.create(ctx, c, request{close: true}) }},
		{"POST slow keep-alive", 1, func(ctx context.Context, c *client) { l.create(ctx, c, request{slow: slowBody}) }},
		{"POST slow close", 1, func(ctx context.Context, c *client) { l.create(ctx, c, request{slow: slowBody, close: true}) }},
	} {
		for i := range k.n {
			l.run(ctx, &l.tasks, fmt.Sprintf("%s %d", k.name, i), k.step)
		}
	}
	for i := range 2 {
		p := &poller{load: l, last: last}
		l.run(polling, &l.polls, fmt.Sprintf("long poll %d", i), p.step)
	}
	for i := range 2 {
		s := &subscriber{load: l, name: fmt.Sprintf("SSE %d", i), last: last, created: map[string]bool{}, changed: make(chan struct{}, 1)}
		l.subs = append(l.subs, s)
		l.reads.Go(s.run)
	}
	return l, nil
}

// slowBody makes the middle of a POST's body fall into many a reload.
const slowBody = 150 * time.Millisecond

// run repeats a step with its own client.
func (l *Load) run(ctx context.Context, group *sync.WaitGroup, name string, step func(context.Context, *client)) {
	c := &client{name: name, addr: l.opts.Addr, token: l.opts.Token, pace: l.opts.Pace}
	group.Go(func() {
		defer c.close()
		for ctx.Err() == nil {
			// A request that has begun is finished, so Stop loses none.
			step(context.WithoutCancel(ctx), c)
			pause(ctx, l.opts.Pace)
		}
	})
}

// Serving says that edit n serves: connections made from now on must see it.
func (l *Load) Serving(n int) { l.floor.Store(int64(n)) }

// Failures returns how many there are so far.
func (l *Load) Failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.report.Failures)
}

// Answered returns the number of requests answered so far.
func (l *Load) Answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report.Total()
}

// Stop lets the running requests finish and waits until the subscribers have
// seen an event for each workspace that was made.
func (l *Load) Stop() Report {
	l.unpoll() // while there are events yet, which a poll waits for
	l.polls.Wait()
	l.cancel()
	l.tasks.Wait()
	close(l.quiet)
	l.reads.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Created = len(l.made)
	for i, s := range l.subs {
		if i == 0 || s.seen < r.Events {
			r.Events = s.seen
		}
		r.Streams += s.streams
		for id := range l.made {
			if !s.created[id] {
				r.Failures = append(r.Failures, Failure{time.Now(), s.name, "watch events", fmt.Errorf("no event for workspace %s, whose creation was answered", id)})
			}
		}
	}
	if err := r.restedTooOften(); err != nil {
		r.Failures = append(r.Failures, Failure{time.Now(), "all", "rest between requests", err})
	}
	slices.SortFunc(r.Failures, func(a, b Failure) int { return a.At.Compare(b.At) })
	return r
}

// fail records a failure.
func (l *Load) fail(client, doing string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, errRested) {
		l.report.Rested++
		return
	}
	l.report.Failures = append(l.report.Failures, Failure{time.Now(), client, doing, err})
}

// do sends a request, accounts for it, and reports whether the answer is the
// wanted one.
func (l *Load) do(ctx context.Context, c *client, r request, status int) (response, bool) {
	r.timeout = l.opts.Patience
	began := time.Now()
	resp, err := c.do(ctx, r)
	doing := r.method + " " + r.path
	if err == nil && resp.status != status {
		err = fmt.Errorf("status %d, want %d: %.200s", resp.status, status, resp.body)
	}
	if err != nil {
		l.fail(c.name, doing, err)
		pause(ctx, 50*time.Millisecond) // a dead server must not be asked in a tight loop
		return resp, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Requests[strings.TrimRight(c.name, " 0123456789")]++
	if !strings.Contains(r.path, "wait=") {
		l.report.Slowest = max(l.report.Slowest, time.Since(began)-r.slow)
	}
	return resp, true
}

func (l *Load) health(ctx context.Context, c *client, close bool) {
	floor := l.floor.Load()
	fresh := c.conn == nil
	resp, ok := l.do(ctx, c, request{method: "GET", path: "/healthz", close: close}, http.StatusOK)
	if !ok || l.opts.Version == nil || !fresh || floor == 0 {
		return
	}
	if n, ok := l.opts.Version(resp.body); !ok || int64(n) < floor {
		l.fail(c.name, "GET /healthz", fmt.Errorf("a new connection got %s although edit %d served already", resp.body, floor))
	}
}

func (l *Load) read(ctx context.Context, c *client, close bool) {
	path := "/v1/workspaces?limit=5"
	switch c.used % 3 {
	case 1:
		path = "/v1/templates"
	case 2:
		if id := l.someWorkspace(); id != "" {
			path = "/v1/workspaces/" + id
		}
	}
	l.do(ctx, c, request{method: "GET", path: path, close: close}, http.StatusOK)
}

func (l *Load) someWorkspace() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.made {
		return id
	}
	return ""
}

func (l *Load) create(ctx context.Context, c *client, r request) {
	r.method, r.path = "POST", "/v1/workspaces"
	r.body = fmt.Sprintf(`{"name": %q}`, "load "+c.name)
	resp, ok := l.do(ctx, c, r, http.StatusCreated)
	if !ok {
		return
	}
	var w struct{ ID string }
	if err := json.Unmarshal(resp.body, &w); err != nil || w.ID == "" {
		l.fail(c.name, "POST /v1/workspaces", fmt.Errorf("no workspace in the answer: %.200s", resp.body))
		return
	}
	l.mu.Lock()
	l.made[w.ID] = true
	l.mu.Unlock()
}

// missing reports whether a subscriber has yet to see something.
func (l *Load) missing(s *subscriber) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.made {
		if !s.created[id] {
			return true
		}
	}
	return false
}

var errNotNext = errors.New("not the next event")
