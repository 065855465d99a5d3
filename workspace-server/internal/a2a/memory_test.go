package a2a

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"workspace-server/internal/stream"
	"workspace-server/internal/workspace"
)

// pipes is a network in memory, whose deadlines follow the clock of a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serve serves h until the test ends, which is within its bubble.
func (p *pipes) serve(t *testing.T, h http.Handler, writeTimeout time.Duration) {
	srv := &http.Server{Handler: h, WriteTimeout: writeTimeout, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(p) // ends when it is closed
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done })
}

// inMemory runs fn within a bubble, with a platform that delivers to an agent and
// a client to write to it with. The platform's server allows an answer a minute.
func inMemory(t *testing.T, agent http.HandlerFunc, fn func(t *testing.T, p *platform, client *http.Transport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		toAgent, toPlatform := newPipes(), newPipes()
		stopping, stop := context.WithCancel(t.Context())
		t.Cleanup(stop)
		p := &platform{Proxy: New(Options{Stopping: stopping}), t: t, to: Target{Address: "agent:1"}, stop: stop, done: make(chan struct{}, 100)}
		p.trusted.DialContext = toAgent.dial
		toAgent.serve(t, agent, 0)
		toPlatform.serve(t, p, time.Minute)
		client := &http.Transport{DialContext: toPlatform.dial, DisableKeepAlives: true}
		fn(t, p, client)
	})
}

func request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://platform/", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An answer arrives whole, however long the silence is before its end.
func TestAnswerEndsAfterSilence(t *testing.T) {
	for _, tt := range []struct{ name, kind, length string }{
		{"a stream", "text/event-stream", ""},
		{"an answer of unknown length", "application/json", ""},
		{"an answer of known length", "application/json", "2"},
	} {
		agent := func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			w.Header().Set("Content-Type", tt.kind)
			if tt.length != "" {
				w.Header().Set("Content-Length", tt.length)
			}
			for _, text := range []string{"1", "2"} {
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(2 * time.Minute):
				case <-r.Context().Done():
				}
			}
		}
		inMemory(t, agent, func(t *testing.T, p *platform, client *http.Transport) {
			resp, err := client.RoundTrip(request(t))
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); string(got) != "12" || err != nil {
				t.Errorf("%s that ends after a silence = %q, %v, want it whole", tt.name, got, err)
			}
			<-p.done
			if err := p.lastError(); err != nil {
				t.Errorf("Deliver of %s that ends after a silence = %v", tt.name, err)
			}
		})
	}
}

// The platform gives up an agent that is silent for too long. The client learns why,
// although the server's time for an answer is over by then.
func TestSilence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle func(net.Conn)
	}{
		{"reads nothing", func(net.Conn) {}},
		{"does not answer", reply("")},
	} {
		inMemory(t, nil, func(t *testing.T, p *platform, client *http.Transport) {
			told := make(chan struct{})
			p.trusted.DialContext = func(context.Context, string, string) (net.Conn, error) {
				ours, agents := net.Pipe()
				go func() {
					tt.handle(agents)
					<-told
					_ = agents.Close()
				}()
				return ours, nil
			}
			start := time.Now()
			resp, err := client.RoundTrip(request(t))
			close(told)
			if err != nil {
				t.Fatalf("a message to an agent that %s: %v", tt.name, err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusTeapot || err != nil || !strings.Contains(string(got), "did not answer within 5m0s. It may have got the message") {
				t.Errorf("a message to an agent that %s = %d %q, %v (%v), want to be told", tt.name, resp.StatusCode, got, err, p.lastError())
			}
			if took := time.Since(start); took != silence {
				t.Errorf("an agent that %s is given up after %v, want %v", tt.name, took, silence)
			}
		})
	}
}

// The platform gives up a stream that falls silent.
func TestSilentStream(t *testing.T) {
	gone := make(chan time.Time, 1)
	agent := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- time.Now()
	}
	inMemory(t, agent, func(t *testing.T, p *platform, client *http.Transport) {
		start := time.Now()
		resp, err := client.RoundTrip(request(t))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err == nil {
			t.Errorf("a stream that falls silent ends with %q, %v, want it to be cut", rest, err)
		}
		<-p.done
		if err := p.lastError(); workspace.KindOf(err) != workspace.BadGateway || !strings.Contains(err.Error(), silent{}.Error()) {
			t.Errorf("Deliver = %v, want that the agent was silent", err)
		}
		if took := (<-gone).Sub(start); took != silence {
			t.Errorf("a silent stream is given up after %v, want %v", took, silence)
		}
	})
}

// A client that does not read is cut off, and at once when the server stops.
func TestClientDoesNotRead(t *testing.T) {
	agent := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}
	for _, stops := range []bool{false, true} {
		inMemory(t, agent, func(t *testing.T, p *platform, client *http.Transport) {
			resp, err := client.RoundTrip(request(t))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			synctest.Wait() // until nothing reads
			start, want := time.Now(), stream.WriteTimeout
			if stops {
				p.stop()
				want = stream.StopTimeout
			}
			<-p.done
			if took := time.Since(start); took > want {
				t.Errorf("a client that does not read is cut off after %v, stopping = %v, want %v", took, stops, want)
			}
			if err := p.lastError(); err != nil {
				t.Errorf("Deliver to a client that does not read = %v, want no error of the agent's", err)
			}
		})
	}
}
