package a2a

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
)

// streaming is an agent that sends an event for each element of next, until
// that is closed or its client goes away, which closes gone.
type streaming struct {
	*agent
	next chan string
	gone chan struct{}
}

func newStreaming(t *testing.T, kind string) *streaming {
	t.Helper()
	s := &streaming{next: make(chan string), gone: make(chan struct{})}
	s.agent = newAgent(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", kind)
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for {
			select {
			case text, ok := <-s.next:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, text)
				_ = rc.Flush()
			case <-r.Context().Done():
				close(s.gone)
				return
			}
		}
	})
	return s
}

// Each event reaches the client before the agent sends the next, even after the
// server's time for an answer.
func TestStreamIsFlushed(t *testing.T) {
	for _, kind := range []string{"text/event-stream", "text/event-stream; charset=utf-8", "application/x-ndjson"} {
		a := newStreaming(t, kind)
		p := newHastyPlatform(t, serverWriteTimeout, Target{Address: a.address})
		resp, err := p.post(t.Context(), "{}")
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != kind || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("a stream of type %q has the headers %v", kind, resp.Header)
		}
		lines := bufio.NewReader(resp.Body)
		for _, text := range []string{"data: 1\n", "data: 2\n", "data: 3\n"} {
			a.next <- text
			if got, err := lines.ReadString('\n'); got != text || err != nil {
				t.Errorf("the stream goes on with %q, %v, want %q", got, err, text)
			}
		}
		close(a.next)
		if rest, err := io.ReadAll(lines); len(rest) != 0 || err != nil {
			t.Errorf("the stream ends with %q, %v, want nothing more", rest, err)
		}
		_ = resp.Body.Close()
	}
}

func TestClientGoesAway(t *testing.T) {
	// Within a stream.
	a := newStreaming(t, "text/event-stream")
	p := newPlatform(t, Target{Address: a.address})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := p.post(ctx, "{}")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-a.gone
	_ = resp.Body.Close()
	<-p.done

	// And before there is an answer.
	arrived, gone := make(chan struct{}), make(chan struct{})
	b := newAgent(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	p = newPlatform(t, Target{Address: b.address})
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-arrived
		cancel()
	}()
	if resp, err := p.post(ctx, "{}"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("a message that was given up is answered with %s", resp.Status)
	}
	<-gone
	<-p.done
}

// A server that stops cuts streams visibly, and lets other answers finish.
func TestServerStops(t *testing.T) {
	a := newStreaming(t, "text/event-stream")
	p := newPlatform(t, Target{Address: a.address})
	resp, err := p.post(t.Context(), "{}")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	a.next <- "data: 1\n"
	if got, err := lines.ReadString('\n'); got != "data: 1\n" || err != nil {
		t.Errorf("the stream begins with %q, %v", got, err)
	}
	p.stop()
	<-a.gone
	if rest, err := io.ReadAll(lines); len(rest) != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream of a server that stops ends with %q, %v, want it to be cut", rest, err)
	}
	_ = resp.Body.Close()

	b := newStreaming(t, "application/json")
	p = newPlatform(t, Target{Address: b.address})
	resp, err = p.post(t.Context(), "{}")
	if err != nil {
		t.Fatal(err)
	}
	b.next <- "[1,"
	p.stop()
	b.next <- "2]"
	close(b.next)
	if got, err := io.ReadAll(resp.Body); string(got) != "[1,2]" || err != nil {
		t.Errorf("an answer while the server stops = %q, %v, want it whole", got, err)
	}
	_ = resp.Body.Close()

	// A stream that begins when the server stops already.
	c := newStreaming(t, "text/event-stream")
	p.to = Target{Address: c.address}
	if resp, err := p.post(t.Context(), "{}"); err == nil {
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a stream that begins when the server stops ends as if it were whole")
		}
		_ = resp.Body.Close()
	}
	<-c.gone
}
