package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A fake answers as workspace-server does, but for one planted fault.
type fake struct {
	fault    string
	requests atomic.Int64
	streams  atomic.Int64

	mu      sync.Mutex
	events  []event
	changed chan struct{}
}

func (f *fake) every(n int64, fault string) bool {
	return f.fault == fault && f.requests.Add(1)%n == 0
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" && r.Header.Get("Authorization") != "Bearer a token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case r.URL.Path == "/healthz":
		switch {
		case f.every(10, "5xx"):
			w.WriteHeader(http.StatusServiceUnavailable)
		case f.every(10, "reset"):
			panic(http.ErrAbortHandler)
		case f.every(10, "old code"):
			fmt.Fprint(w, `1`)
			return
		}
		fmt.Fprint(w, `2`)
	case r.Method == http.MethodPost:
		if f.every(10, "reset POST") {
			panic(http.ErrAbortHandler)
		}
		id := f.create()
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id": %q}`, id)
	case r.URL.Path == "/v1/events" && r.Header.Get("Accept") == "text/event-stream":
		f.stream(w, r)
	case r.URL.Path == "/v1/events":
		f.page(w, r)
	default:
		fmt.Fprint(w, `{}`)
	}
}

func (f *fake) create() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := event{Seq: int64(len(f.events) + 1), Type: "workspace.created", Workspace: fmt.Sprintf("ws_%d", len(f.events))}
	id := e.Workspace
	if len(f.events) == 20 {
		switch f.fault {
		case "gap":
			e.Seq++
		case "duplicate":
			e.Seq--
		case "no event":
			e.Workspace = "another"
		}
	}
	f.events = append(f.events, e)
	close(f.changed)
	f.changed = make(chan struct{})
	return id
}

func (f *fake) since(last int64) ([]event, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events[min(int(last), len(f.events)):], f.changed
}

func (f *fake) page(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
	events, changed := f.since(after)
	if r.FormValue("wait") != "" && len(events) == 0 {
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		}
		events, _ = f.since(after)
	}
	_ = json.NewEncoder(w).Encode(page{Items: events})
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	f.streams.Add(1)
	last, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	w.Header().Set("Content-Type", "text/event-stream")
	end := time.After(100 * time.Millisecond) // as a reload does
	for {
		events, changed := f.since(last)
		for _, e := range events {
			data, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, data)
			last++
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-changed:
		case <-end:
			if f.fault == "cut stream" {
				panic(http.ErrAbortHandler)
			}
			return
		case <-r.Context().Done():
			return
		}
	}
}

func version(body []byte) (int, bool) {
	n, err := strconv.Atoi(string(body))
	return n, err == nil
}

// TestFaultsAreSeen plants faults, since a load that misses them proves nothing.
func TestFaultsAreSeen(t *testing.T) {
	tests := []struct{ fault, want string }{
		{"", ""},
		{"5xx", "status 503, want 200"},
		{"reset", "EOF"},
		{"reset POST", "EOF"},
		{"old code", "a new connection got 1 although edit 2 served already"},
		{"gap", "not the next event: 22 after 20"},
		{"duplicate", "not the next event: 20 after 20"},
		{"no event", "no event for workspace ws_20"},
		{"cut stream", "the stream was cut"},
	}
	for _, tt := range tests {
		t.Run("fault "+tt.fault, func(t *testing.T) {
			t.Parallel()
			f := &fake{fault: tt.fault, changed: make(chan struct{})}
			s := httptest.NewServer(f)
			defer s.Close()
			patience := time.Second // for an event that never comes
			if tt.want == "" {
				patience = time.Minute // no request may fail, however busy the machine is
			}
			l, err := Start(t.Context(), Options{Addr: s.Listener.Addr().String(), Token: "a token", Pace: 5 * time.Millisecond, Version: version, Patience: patience})
			if err != nil {
				t.Fatal(err)
			}
			l.Serving(2)
			deadline := time.Now().Add(time.Minute)
			for time.Now().Before(deadline) && (l.Answered() < 300 || f.streams.Load() < 4 || tt.want != "" && tt.fault != "no event" && l.Failures() == 0) {
				pause(t.Context(), 10*time.Millisecond)
			}
			got := l.Stop()
			if tt.want == "" {
				if len(got.Failures) > 0 || got.Events != got.Created || got.Created < 20 || got.Streams < 4 {
					t.Errorf("Stop() = %s %v, want no failure, and an event for each workspace", got, got.Failures)
				}
				return
			}
			for _, failure := range got.Failures {
				if strings.Contains(failure.String(), tt.want) {
					return
				}
			}
			t.Errorf("Stop() = %s %v, want a failure with %q", got, got.Failures, tt.want)
		})
	}
}

// TestIdleClose: a connection that the server closed while nothing was under
// way costs no request.
func TestIdleClose(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.IdleTimeout = time.Millisecond
	s.Start()
	defer s.Close()
	c := &client{addr: s.Listener.Addr().String()}
	defer c.close()
	for i := range 5 {
		if _, err := c.do(t.Context(), request{method: "GET", path: "/", timeout: patience}); err != nil {
			t.Fatalf("do(GET) number %d = %v, want an answer", i, err)
		}
		for !closedByPeer(c.conn) {
			pause(t.Context(), time.Millisecond)
		}
	}
}

// TestRest: a lost request counts, unless its connection rested for so long before
// that the server did not promise to answer.
func TestRest(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/hang":
			<-hang
		}
	}))
	defer s.Close()
	defer close(hang)
	for _, tt := range []struct {
		path     string
		rest     time.Duration
		timeout  time.Duration
		excepted bool
	}{
		{"/cut", 0, patience, false},
		{"/cut", late, patience, true},
		{"/hang", late, 50 * time.Millisecond, false},
	} {
		l := &Load{report: Report{Requests: map[string]int{}}, opts: Options{Patience: tt.timeout}}
		c := &client{addr: s.Listener.Addr().String()}
		if _, err := c.do(t.Context(), request{method: "GET", path: "/", timeout: patience}); err != nil {
			t.Fatal(err)
		}
		c.last = time.Now().Add(-tt.rest)
		if _, ok := l.do(t.Context(), c, request{method: "GET", path: tt.path}, http.StatusOK); ok {
			t.Errorf("do(GET %s) after %s of rest succeeds, want it to fail", tt.path, tt.rest)
		}
		want := map[bool][2]int{false: {1, 0}, true: {0, 1}}[tt.excepted]
		if got := [2]int{l.Failures(), l.report.Rested}; got != want {
			t.Errorf("GET %s after %s of rest counts as %d failures and %d after a rest, want %v", tt.path, tt.rest, got[0], got[1], want)
		}
		c.close()
	}
}

// TestRestedTooOften: what is excepted must stay rare.
func TestRestedTooOften(t *testing.T) {
	for _, tt := range []struct {
		total, rested int
		want          bool
	}{
		{0, 0, false},
		{100, 1, false},
		{100, 2, true},
		{20_000, 3, false},
		{20_000, 4, true},
	} {
		r := Report{Requests: map[string]int{"GET": tt.total}, Rested: tt.rested}
		if err := r.restedTooOften(); (err != nil) != tt.want {
			t.Errorf("restedTooOften() of %d in %d = %v, want an error: %v", tt.rested, tt.total, err, tt.want)
		}
	}
}

// TestFollow: Follow reads a stream until the reader has enough, and fails if the
// server ends it before.
func TestFollow(t *testing.T) {
	f := &fake{changed: make(chan struct{})}
	s := httptest.NewServer(f)
	defer s.Close()
	addr := s.Listener.Addr().String()
	c := NewCaller("a token", addr)
	defer c.Close()
	for range 3 {
		if status, answer, err := c.Do(t.Context(), "POST", "/v1/workspaces", `{"name": "one"}`); status != http.StatusCreated || err != nil {
			t.Fatalf("Do(POST /v1/workspaces) = %d, %s, %v, want 201", status, answer, err)
		}
	}
	if c.client.used != 3 {
		t.Errorf("%d of 3 requests came over the last connection, want all", c.client.used)
	}
	var ids []string
	ctx, cancel := context.WithCancel(t.Context())
	err := Follow(ctx, "a token", addr, 1, func() { ids = append(ids, "began") }, func(id, _ string) {
		if ids = append(ids, id); id == "3" {
			cancel()
		}
	})
	if want := []string{"began", "2", "3"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("Follow(after 1) = %v, %v, want nil, %v", err, ids, want)
	}
	err = Follow(t.Context(), "a token", addr, 3, func() {}, func(string, string) {})
	if want := "the server ended the stream"; err == nil || err.Error() != want {
		t.Errorf("Follow() = %v of a stream that ends, want %q", err, want)
	}
}
