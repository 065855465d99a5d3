package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// frames is a stream that begins at a number, has events, and ends.
func frames(text ...string) http.HandlerFunc {
	return answer(200, "text/event-stream", strings.Join(text, ""))
}

func event(seq int64) string {
	return fmt.Sprintf("id: %d\nevent: workspace.created\ndata: {\"seq\":%d,\"data\":{}}\n\n", seq, seq)
}

// follow returns the events that the client saw, the numbers that it asked to begin
// after, and its error.
func follow(ctx context.Context, c *Client, f *fake, after int64) (seen []int64, places []string, err error) {
	err = c.Follow(ctx, after, func(e Event) error {
		seen = append(seen, e.Value.Seq)
		return nil
	})
	for _, r := range f.requests() {
		places = append(places, r.Header.Get("Last-Event-ID"))
	}
	return seen, places, err
}

func TestFollow(t *testing.T) {
	end := problem(401, "This token was revoked.")
	tests := []struct {
		name     string
		after    int64
		handlers []http.HandlerFunc
		seen     []int64
		places   []string
		pauses   []time.Duration
	}{
		{
			"a number", 0,
			[]http.HandlerFunc{frames("retry: 20\nid: 0\n\n", event(1), ": alive\n\n", event(2)), end},
			[]int64{1, 2},
			[]string{"0", "2"},
			[]time.Duration{20},
		},
		{
			"from now on, though nothing has happened when the connection is lost", FromNow,
			[]http.HandlerFunc{frames("retry: 20\nid: 7\n\n"), frames("retry: 20\nid: 7\n\n", event(8)), end},
			[]int64{8},
			[]string{"", "7", "8"},
			[]time.Duration{20, 20},
		},
		{
			"an event that came in part, and one that comes twice", 4,
			[]http.HandlerFunc{
				frames("id: 4\n\n", event(5), "id: 6\nevent: x\ndata: {\"se"),
				frames("id: 5\n\n", event(5), event(6), "id: 7\ndata: {\"seq\":7,\"data\":{}}\n"),
				frames("retry: 2000\n", event(7)),
				end,
			},
			[]int64{5, 6, 7},
			[]string{"4", "5", "6", "7"},
			[]time.Duration{100, 100, 2000},
		},
		{
			"a server that is away for some time", 0,
			[]http.HandlerFunc{
				frames("retry: 20\nid: 0\n\n", event(1)), cut, problem(503, "Later.", "Retry-After", "1"), cut,
				answer(502, "text/html", ""), frames("id: 1\n\n", event(2)), end,
			},
			[]int64{1, 2},
			[]string{"0", "1", "1", "1", "1", "1", "2"},
			[]time.Duration{20, 200, 1000, 800, 1600, 20},
		},
		{
			"another spelling", 0,
			[]http.HandlerFunc{frames("id:1\ndata:{\"seq\":1,\r\ndata: \"data\":{}}\r\n\r\nunknown\n\n"), end},
			[]int64{1},
			[]string{"0", "1"},
			[]time.Duration{100},
		},
		{"a server that refuses at once", 0, []http.HandlerFunc{end}, nil, []string{"0"}, nil},
	}
	for _, tt := range tests {
		f := newFake(t, tt.handlers...)
		c, waited := newClient(t, f.URL)
		seen, places, err := follow(t.Context(), c, f, tt.after)
		for i := range tt.pauses {
			tt.pauses[i] *= time.Millisecond
		}
		if StatusOf(err) != 401 || !slices.Equal(seen, tt.seen) || !slices.Equal(places, tt.places) || !slices.Equal(*waited, tt.pauses) {
			t.Errorf("Follow with %s saw %v, asked for what comes after %q, waited %v, and ended with %v\nwant %v, %q, %v, and status 401",
				tt.name, seen, places, *waited, err, tt.seen, tt.places, tt.pauses)
		}
	}
}

// The first connection is not repeated.
func TestFollowWithoutServer(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"cut": cut, "busy": problem(503, "Later."), "elsewhere": answer(404, "text/html", "")} {
		f := newFake(t, handler)
		c, waited := newClient(t, f.URL)
		if seen, _, err := follow(t.Context(), c, f, 0); err == nil || len(seen) != 0 || len(f.requests()) != 1 || len(*waited) != 0 {
			t.Errorf("Follow of a server that is %s = %v, %v, after %d tries, want an error after one", name, seen, err, len(f.requests()))
		}
	}
}

func TestFollowEnds(t *testing.T) {
	wrong := errors.New("the disk is full")
	f := newFake(t, frames(event(1), event(2)))
	c, _ := newClient(t, f.URL)
	if err := c.Follow(t.Context(), 0, func(Event) error { return wrong }); !errors.Is(err, wrong) || len(f.requests()) != 1 {
		t.Errorf("Follow whose function fails = %v after %d requests, want its error after one", err, len(f.requests()))
	}
	f = newFake(t, frames("id: 1\ndata: {\n\n"))
	c, _ = newClient(t, f.URL)
	if _, _, err := follow(t.Context(), c, f, 0); err == nil || !strings.Contains(err.Error(), "read event 1: ") || len(f.requests()) != 1 {
		t.Errorf("Follow of what is no event = %v after %d requests, want an error after one", err, len(f.requests()))
	}
	f = newFake(t, frames("id: one\n\n"))
	c, _ = newClient(t, f.URL)
	if _, _, err := follow(t.Context(), c, f, 0); err == nil || !strings.Contains(err.Error(), `number "one" is not valid`) {
		t.Errorf("Follow of what has no number = %v, want an error", err)
	}

	// An open stream ends with the context, and one that is silent counts as lost.
	release := make(chan struct{})
	open := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "id: 0\n\n", event(1))
		_ = http.NewResponseController(w).Flush()
		<-release
	}
	f = newFake(t, open)
	c, _ = newClient(t, f.URL)
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Follow(ctx, 0, func(Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow that is cancelled = %v, want %v", err, context.Canceled)
	}
	resp, err := c.open(t.Context(), call{method: "GET", path: []string{"events"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.(*body).silence = 20 * time.Millisecond // that the stream begins may take longer
	buf := make([]byte, 1000)
	for err == nil {
		_, err = resp.Body.Read(buf)
	}
	if err.Error() != "nothing arrived for 1h0m0s" {
		t.Errorf("a silent stream ends with %v, want an error that says so", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	f = newFake(t, func(http.ResponseWriter, *http.Request) { <-release })
	c, _ = newClient(t, f.URL)
	_, err = c.open(t.Context(), call{method: "GET", path: []string{"events"}}, 20*time.Millisecond)
	if want := "the connection to " + f.URL + " failed: nothing arrived for 20ms"; err == nil || err.Error() != want || !passing(err) {
		t.Errorf("a stream that does not begin = %v, want %s, which may pass", err, want)
	}
	close(release)

	// Only what is waited for counts: who reads may take longer.
	f = newFake(t, frames(event(1), event(2)))
	c, _ = newClient(t, f.URL)
	resp, err = c.open(t.Context(), call{method: "GET", path: []string{"events"}}, forever)
	if err != nil {
		t.Fatal(err)
	}
	watched := resp.Body.(*body)
	if _, err := watched.Read(buf[:1]); err != nil || watched.watch.Stop() {
		t.Errorf("after a read, %v, the silence is still measured, want that it is not", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	f := newFake(t, ok(`{"items":[{"seq":1,"data":{}},{"seq":2,"data":{}}],"last":2}`), ok(`{"items":[{"seq":3,"data":{}}],"last":3}`), ok(`{"items":[],"last":3}`))
	c, _ := newClient(t, f.URL)
	var seen []int64
	if err := c.Events(t.Context(), 0, func(e Event) error { seen = append(seen, e.Value.Seq); return nil }); err != nil || !slices.Equal(seen, []int64{1, 2, 3}) {
		t.Errorf("Events = %v, %v, want 1 to 3", seen, err)
	}
	for i, want := range []string{"after=0", "after=2", "after=3"} {
		if got := f.requests()[i].URL.RawQuery; got != want {
			t.Errorf("request %d asks for %s, want %s", i, got, want)
		}
	}
}
