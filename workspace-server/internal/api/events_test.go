package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

func TestPollEvents(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		poll := func(query string) eventPage {
			t.Helper()
			var got eventPage
			a.do("GET", "/v1/events"+query, "").decodeInto(t, &got)
			return got
		}
		if got := a.do("GET", "/v1/events", "").body; got != "{\"items\":[],\"last\":0}\n" {
			t.Errorf("GET /v1/events of nothing = %s, want no items", got)
		}
		for i := range 3 {
			a.create(fmt.Sprint(i))
		}
		if got := poll(""); len(got.Items) != 3 || got.Last != 3 || got.Items[0].Seq != 1 {
			t.Errorf("GET /v1/events = %+v, want events 1 to 3", got)
		}
		if got := poll("?after=2&wait=30"); len(got.Items) != 1 || got.Last != 3 {
			t.Errorf("GET /v1/events?after=2 = %+v, want event 3 at once", got)
		}
		if got := poll("?after=3"); len(got.Items) != 0 || got.Last != 3 {
			t.Errorf("GET /v1/events?after=3 = %+v, want nothing and the same place", got)
		}

		var wg sync.WaitGroup
		wg.Go(func() {
			if got := poll("?after=3&wait=30"); len(got.Items) != 1 || got.Last != 4 {
				t.Errorf("GET /v1/events?after=3&wait=30 = %+v, want event 4", got)
			}
		})
		a.create("wakes")
		wg.Wait()
		wg.Go(func() {
			if got := poll("?after=4&wait=30"); len(got.Items) != 0 || got.Last != 4 {
				t.Errorf("GET /v1/events?after=4&wait=30 of a server that stops = %+v, want nothing and the same place", got)
			}
		})
		a.stop()
		wg.Wait()
	})
}

// A client that asks for removed events learns so, and how to continue.
func TestEventsThatAreGone(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		var made []workspace.Workspace
		for i := range 4 {
			made = append(made, a.create(fmt.Sprint(i)))
		}
		own := "Authorization: Bearer " + string(a.token(token.Spec{Role: token.Workspace, Workspace: made[0].ID}))
		const stream = "Accept: text/event-stream"
		remove := func(limit int) {
			t.Helper()
			if n, err := a.store.RemoveEvents(t.Context(), time.Now().Add(time.Hour), limit); err != nil || n != limit {
				t.Fatalf("RemoveEvents = %d, %v, want %d", n, err, limit)
			}
		}
		wantGone := func(path string, headers ...string) {
			t.Helper()
			got := a.do("GET", path, "", headers...)
			got.wantProblem(t, fmt.Sprint("GET ", path, headers), http.StatusGone, "List the workspaces again, then continue after 4")
			if !strings.Contains(got.body, `"kind":"gone"`) {
				t.Errorf("GET %s = %s, want the kind gone", path, got.body)
			}
		}
		wantPage := func(path string, last int64, want []int64, headers ...string) {
			t.Helper()
			var got eventPage
			a.do("GET", path, "", headers...).decodeInto(t, &got)
			seqs := []int64{}
			for _, e := range got.Items {
				seqs = append(seqs, e.Seq)
			}
			if !slices.Equal(seqs, want) || got.Last != last {
				t.Errorf("GET %s %v = events %v and last %d, want %v and %d", path, headers, seqs, got.Last, want, last)
			}
		}
		remove(2)
		for _, headers := range [][]string{nil, {own}, {stream}, {stream, own}} {
			wantGone("/v1/events?after=0", headers...)
			wantGone("/v1/events?after=1", headers...)
		}
		wantGone("/v1/events", stream, "Last-Event-ID: 1")
		wantGone("/v1/events?after=3", stream, "Last-Event-ID: 1") // the header wins
		wantPage("/v1/events", 4, []int64{3, 4})
		wantPage("/v1/events?after=2", 4, []int64{3, 4})
		wantPage("/v1/events?after=3", 4, []int64{4})
		wantPage("/v1/events", 4, []int64{}, own)
		wantPage("/v1/events?after=2", 4, []int64{}, own)
		if got := a.stream("/v1/events?after=0", "Last-Event-ID: 2").event(); got.Seq != 3 {
			t.Errorf("a stream after 2 begins with %d, want 3", got.Seq)
		}

		remove(2)
		wantGone("/v1/events?after=3")
		wantPage("/v1/events", 4, []int64{})
		wantPage("/v1/events?after=4", 4, []int64{})
		s := a.stream("/v1/events")
		if first, _ := s.block(); first["id"] != "4" {
			t.Errorf("a stream of no events begins with %v, want the number of the last one that was", first)
		}
		a.create("next")
		if got := s.event(); got.Seq != 5 {
			t.Errorf("the stream goes on with %d, want 5", got.Seq)
		}
		a.do("GET", "/v1/events?after=6", "").wantProblem(t, "a number of the future", 400, "There is no event 6 yet")
	})
}

// sse is a client of a stream.
type sse struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
	last string // the last id, as a browser keeps it
}

func (a *testAPI) stream(path string, headers ...string) *sse {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.url+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(a.secret))
	req.Header.Set("Accept", "text/event-stream")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		a.t.Fatalf("GET %s = %s of type %s, want a stream", path, resp.Status, got)
	}
	return &sse{t: a.t, resp: resp, r: bufio.NewReader(resp.Body)}
}

// block returns the fields up to the next empty line, and false at the end.
func (s *sse) block() (map[string]string, bool) {
	s.t.Helper()
	fields := map[string]string{}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			if len(fields) > 0 {
				s.t.Errorf("the stream ends within %v: %v", fields, err)
			}
			return nil, false
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return fields, true
		}
		name, value, _ := strings.Cut(line, ": ")
		fields[name] = value
		if name == "id" {
			s.last = value
		}
	}
}

// event returns the next event.
func (s *sse) event() workspace.Event {
	s.t.Helper()
	for {
		fields, ok := s.block()
		if !ok {
			s.t.Fatal("the stream ended")
		}
		if fields["data"] == "" {
			continue
		}
		var e workspace.Event
		if err := json.Unmarshal([]byte(fields["data"]), &e); err != nil {
			s.t.Fatal(err)
		}
		if fields["id"] != strconv.FormatInt(e.Seq, 10) || fields["event"] != e.Type {
			s.t.Errorf("event %v has other fields than its data", fields)
		}
		return e
	}
}

func TestStreamResumes(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		a.create("1")
		a.create("2")
		s := a.stream("/v1/events")
		if got, _ := s.block(); got["retry"] != "20" || got["id"] != "2" {
			t.Errorf("the stream begins with %v, want the retry time and the present end", got)
		}
		if !s.resp.Close {
			t.Error("a stream's connection may be used again, want Connection: close")
		}
		a.create("3")
		if got := s.event(); got.Seq != 3 || got.Type != workspace.EventCreated {
			t.Errorf("the first event of a stream from the end = %+v, want 3", got)
		}
		for _, tt := range []struct {
			path    string
			headers []string
			want    int64
		}{
			{"/v1/events?after=0", nil, 1},
			{"/v1/events?after=2", nil, 3},
			{"/v1/events", []string{"Last-Event-ID: 1"}, 2},
			{"/v1/events?after=0", []string{"Last-Event-ID: 2"}, 3}, // a browser that reconnects
		} {
			if got := a.stream(tt.path, tt.headers...).event(); got.Seq != tt.want {
				t.Errorf("stream %s %v begins with event %d, want %d", tt.path, tt.headers, got.Seq, tt.want)
			}
		}
		a.stop()
		if got, ok := s.block(); !ok || got["retry"] != "20" {
			t.Errorf("the stream of a server that stops ends with %v, want the retry time", got)
		}
		if got, ok := s.block(); ok {
			t.Errorf("the stream of a server that stops goes on with %v", got)
		}
	})
}

// A client that follows one server after the other, while both write, sees every event
// once and in order.
func TestStreamAcrossServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, database storetest.Database) {
		const total, perServer = 240, 60
		database.Migrated(t)
		writers := []*store.Store{
			store.New(database.Open(t), func(int64) {}),
			store.New(database.Open(t), func(int64) {}),
		}
		var wg sync.WaitGroup
		for i, s := range writers {
			wg.Go(func() {
				for j := range total / len(writers) {
					w, err := workspace.New(workspace.Spec{Name: fmt.Sprint(i, j)}, time.Now())
					if err == nil {
						_, err = s.Create(t.Context(), w, workspace.Request{})
					}
					if err != nil {
						t.Errorf("Create = %v", err)
					}
				}
			})
		}
		var got []int64
		last := "0"
		for len(got) < total {
			a := newAPI(t, database.Open(t))
			s := a.stream("/v1/events?after=0", "Last-Event-ID: "+last)
			for range min(perServer, total-len(got)) {
				got = append(got, s.event().Seq)
			}
			a.stop()
			for {
				// What was on its way when the server stopped counts too.
				fields, ok := s.block()
				if !ok {
					break
				}
				if seq, err := strconv.ParseInt(fields["id"], 10, 64); err == nil {
					got = append(got, seq)
				}
			}
			last = s.last
		}
		wg.Wait()
		var want []int64
		for i := range total {
			want = append(want, int64(i+1))
		}
		if !slices.Equal(got, want) {
			t.Errorf("the client saw %v, want every number once and in order", got)
		}
	})
}

func TestWantsStream(t *testing.T) {
	tests := []struct {
		accept []string
		want   bool
	}{
		{nil, false},
		{[]string{"*/*"}, false},
		{[]string{"application/json"}, false},
		{[]string{"text/event-stream"}, true},
		{[]string{"application/json, text/event-stream;q=0.5"}, true},
		{[]string{"application/json", "TEXT/EVENT-STREAM"}, true},
	}
	for _, tt := range tests {
		r := &http.Request{Header: http.Header{"Accept": tt.accept}, URL: &url.URL{}}
		if got := wantsStream(r); got != tt.want {
			t.Errorf("wantsStream(%q) = %t, want %t", tt.accept, got, tt.want)
		}
	}
}
