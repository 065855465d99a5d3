package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"workspace-server/internal/events"
	"workspace-server/internal/stream"
	"workspace-server/internal/testkit"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// eventLog is a database in memory with n events. None of them is of the workspace
// whose events a caller may be limited to.
type eventLog struct {
	mu        sync.Mutex
	n         int64
	forgotten int64
}

// happen adds events.
func (l *eventLog) happen(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += n
}

func (l *eventLog) LastEvent(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n, nil
}

func (l *eventLog) Kept(_ context.Context, after int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.forgotten {
		return workspace.Errorf(workspace.Gone, "too late")
	}
	return nil
}

func (l *eventLog) Events(ctx context.Context, of string, after int64, limit int) ([]workspace.Event, error) {
	if err := l.Kept(ctx, after); err != nil {
		return nil, err
	}
	last, err := l.LastEvent(ctx)
	items := []workspace.Event{}
	if of != "" {
		return items, err
	}
	for seq := after + 1; seq <= last && len(items) < limit; seq++ {
		items = append(items, workspace.Event{Seq: seq, Type: "test", Data: []byte("{}")})
	}
	return items, err
}

// admins is a database in which every token is an administrator's, or one workspace's,
// until all are revoked.
type admins struct {
	token.Store
	workspace string
	revoked   atomic.Bool
}

func (a *admins) token() token.Token {
	if a.workspace != "" {
		return token.Token{Role: token.Workspace, Workspace: a.workspace}
	}
	return token.Token{Role: token.Admin}
}

func (a *admins) Authenticate(context.Context, string) (token.Token, error) {
	t := a.token()
	if a.revoked.Load() {
		t.Revoked = 1
	}
	return t, t.Check(time.Now())
}

const heartbeat = 15 * time.Second

// writer is a connection to a client that reads, or does not.
type writer struct {
	header http.Header
	reads  bool

	mu       sync.Mutex
	text     strings.Builder
	deadline time.Time
	changed  chan struct{} // closed when the deadline changes
}

func newWriter(reads bool) *writer {
	return &writer{header: http.Header{}, reads: reads, changed: make(chan struct{})}
}

func (w *writer) Header() http.Header { return w.header }
func (w *writer) WriteHeader(int)     {}
func (w *writer) FlushError() error   { return nil }

func (w *writer) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

func (w *writer) Write(p []byte) (int, error) {
	for !w.reads {
		w.mu.Lock()
		deadline, changed := w.deadline, w.changed
		w.mu.Unlock()
		select {
		case <-time.After(time.Until(deadline)):
			return 0, os.ErrDeadlineExceeded
		case <-changed:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.WriteString(string(p))
}

func (w *writer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// startStream serves a stream on w, and returns when it ended.
func startStream(t *testing.T, log *eventLog, f *events.Feed, w http.ResponseWriter) (stop func(), ended <-chan time.Time) {
	t.Helper()
	return startStreamOf(t, &admins{}, log, f, w)
}

func startStreamOf(t *testing.T, tokens *admins, log *eventLog, f *events.Feed, w http.ResponseWriter) (stop func(), ended <-chan time.Time) {
	t.Helper()
	stopping, stop := contextWithCancel(t)
	a := &api{Deps: Deps{Events: log, Feed: f, Tail: events.NewTail(log), Tokens: tokens, Stopping: stopping, Retry: time.Second, Heartbeat: heartbeat, Log: slog.New(slog.DiscardHandler)}}
	done := make(chan time.Time, 1)
	ctx := context.WithValue(t.Context(), callerKey{}, caller{Token: tokens.token()})
	r := httptest.NewRequestWithContext(ctx, "GET", "/v1/events", nil)
	go func() {
		if err := a.streamEvents(w, r, 0); err != nil && !tokens.revoked.Load() {
			t.Errorf("streamEvents = %v", err)
		}
		done <- time.Now()
	}()
	return stop, done
}

func TestStreamBeatsWhenNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, f := &eventLog{}, events.NewFeed(slog.New(slog.DiscardHandler))
		w := newWriter(true)
		stop, ended := startStream(t, log, f, w)
		time.Sleep(2*heartbeat + time.Second)
		log.happen(1)
		f.Wake(1)
		synctest.Wait()
		stop()
		<-ended
		want := "retry: 1000\nid: 0\n\n: alive\n\n: alive\n\nid: 1\nevent: test\n" +
			`data: {"seq":1,"type":"test","workspace":"","at":0,"data":{}}` + "\n\nretry: 1000\n\n"
		if got := w.String(); got != want {
			t.Errorf("stream =\n%s\nwant\n%s", got, want)
		}
	})
}

// A stream ends soon after its token.
func TestStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens, w := &admins{}, newWriter(true)
		_, ended := startStreamOf(t, tokens, &eventLog{}, events.NewFeed(slog.New(slog.DiscardHandler)), w)
		time.Sleep(heartbeat + time.Second)
		tokens.revoked.Store(true)
		revoked := time.Now()
		if took := (<-ended).Sub(revoked); took != heartbeat-time.Second {
			t.Errorf("the stream ends %v after its token was revoked, want at the next heartbeat", took)
		}
		if got, want := w.String(), "retry: 1000\nid: 0\n\n: alive\n\n"; got != want {
			t.Errorf("stream =\n%s\nwant\n%s", got, want)
		}
	})
}

// The end of a token during a stream is no fault of the server.
func TestStreamThatEndsWithItsTokenIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf testkit.Buffer
		tokens, log := &admins{}, &eventLog{}
		stopping, stop := contextWithCancel(t)
		defer stop()
		quiet := slog.New(slog.DiscardHandler)
		h := New(Deps{
			Events: log, Feed: events.NewFeed(quiet), Tail: events.NewTail(log), Tokens: tokens, Stopping: stopping, Retry: time.Second,
			Heartbeat: heartbeat, Log: slog.New(slog.NewTextHandler(&buf, nil)),
		})
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil)
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Authorization", "Bearer wst_"+strings.Repeat("A", 43))
		ended := make(chan any)
		go func() {
			defer func() { ended <- recover() }()
			h.ServeHTTP(newWriter(true), r)
		}()
		time.Sleep(time.Second)
		tokens.revoked.Store(true)
		if value := <-ended; value != http.ErrAbortHandler {
			t.Errorf("the stream ends with %v, want it to be cut", value)
		}
		if got := buf.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=INFO") || !strings.Contains(got, "This token was revoked") {
			t.Errorf("a stream whose token was revoked is logged as\n%s\nwant one line of INFO", got)
		}
	})
}

// A client that sees few of the events still learns how far it is. Otherwise it could
// reconnect with a number whose events were removed.
func TestStreamTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, f, w := &eventLog{}, events.NewFeed(slog.New(slog.DiscardHandler)), newWriter(true)
		stop, ended := startStreamOf(t, &admins{workspace: "ws_mine"}, log, f, w)
		time.Sleep(time.Second)
		log.happen(7)
		f.Wake(7)
		time.Sleep(2 * heartbeat)
		stop()
		<-ended
		if got, want := w.String(), "retry: 1000\nid: 0\n\n: alive\nid: 7\n\n: alive\n\nretry: 1000\n\n"; got != want {
			t.Errorf("stream =\n%s\nwant\n%s", got, want)
		}
	})
}

// A stream that has fallen behind the removal of events ends rather than skip any.
func TestStreamEndsWhenItIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, f, w := &eventLog{}, events.NewFeed(slog.New(slog.DiscardHandler)), newWriter(true)
		_, ended := startStream(t, log, f, w)
		synctest.Wait()
		log.happen(9)
		log.mu.Lock()
		log.forgotten = 8
		log.mu.Unlock()
		f.Wake(9)
		<-ended
		if got, want := w.String(), "retry: 1000\nid: 0\n\n"; got != want {
			t.Errorf("stream =\n%s\nwant\n%s", got, want)
		}
	})
}

// A client that does not read is cut off, and holds up neither another stream
// nor the end of the server.
func TestStreamCutsOffWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, f := &eventLog{n: 1000}, events.NewFeed(slog.New(slog.DiscardHandler))
		start := time.Now()
		slow, fast, late := newWriter(false), newWriter(true), newWriter(false)
		_, slowEnded := startStream(t, log, f, slow)
		stopFast, fastEnded := startStream(t, log, f, fast)
		synctest.Wait()
		if got := strings.Count(fast.String(), "data:"); got != 1000 {
			t.Errorf("the stream beside one that does not read has %d events, want 1000", got)
		}
		if took := (<-slowEnded).Sub(start); took != stream.WriteTimeout {
			t.Errorf("a client that does not read is cut off after %v, want %v", took, stream.WriteTimeout)
		}

		stopLate, lateEnded := startStream(t, log, f, late)
		time.Sleep(time.Second)
		stopped := time.Now()
		stopLate()
		stopFast()
		if took := (<-lateEnded).Sub(stopped); took != stream.StopTimeout {
			t.Errorf("a server that stops waits %v for a client that does not read, want %v", took, stream.StopTimeout)
		}
		if took := (<-fastEnded).Sub(stopped); took != 0 {
			t.Errorf("a server that stops waits %v for a client that reads, want 0", took)
		}
		// The deadline must not be touched once the stream is over.
		synctest.Wait()
	})
}
