package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// shared is a listening socket as a supervisor holds it: it never accepts.
type shared struct {
	t  *testing.T
	ln *net.TCPListener
}

func newShared(t *testing.T) *shared {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return &shared{t, ln.(*net.TCPListener)}
}

func (s *shared) addr() string { return s.ln.Addr().String() }
func (s *shared) url() string  { return "http://" + s.addr() + "/" }

// listener returns a process's own copy of the socket.
func (s *shared) listener() net.Listener {
	s.t.Helper()
	file, err := s.ln.File()
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return ln
}

// start serves handler on a copy of the socket. The returned function waits
// for Serve to return.
func (s *shared) start(handler http.Handler) (*Server, func()) {
	s.t.Helper()
	return s.startServer(&http.Server{Handler: handler, ErrorLog: discard()})
}

func (s *shared) startServer(server *http.Server) (*Server, func()) {
	s.t.Helper()
	srv := New(server)
	ln := s.listener()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	return srv, func() {
		s.t.Helper()
		if err := <-served; err != nil {
			s.t.Errorf("Serve = %v, want nil after Drain", err)
		}
	}
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// echo answers with the request's body and the server's number.
func echo(number int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Server-Number", fmt.Sprint(number))
		_, _ = w.Write(body)
	})
}

// usedConn records how long it rested before a write: a request after a long rest may
// be lost; see Drain. On a busy machine, any client may rest.
type usedConn struct {
	net.Conn
	last, rested atomic.Int64 // the time of the last use, and a duration
}

// longRest is shorter than quiet, since the client may see only a part of that.
const longRest = 400 * time.Millisecond

func dialUsed(ctx context.Context, network, address string) (net.Conn, error) {
	c := &usedConn{}
	c.last.Store(time.Now().UnixNano())
	var err error
	c.Conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
	return c, err
}

func (c *usedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.last.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *usedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	// The time of the write counts too: the client may not have run until then.
	now := time.Now().UnixNano()
	c.rested.Store(max(c.rested.Load(), now-c.last.Swap(now)))
	return n, err
}

// load has clients send requests until it is closed, and records their errors.
type load struct {
	url   string
	stop  chan struct{}
	wg    sync.WaitGroup
	count atomic.Int64

	transports []*http.Transport // several clients may share one

	mu   sync.Mutex
	errs []error
}

// client starts a client that sends requests one after the other, with pauses.
func (l *load) client(transport *http.Transport, method string, pause time.Duration) {
	l.transports = append(l.transports, transport)
	l.wg.Go(func() {
		client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
		for i := 0; ; i++ {
			if err := l.request(client, method, i); err != nil {
				l.mu.Lock()
				l.errs = append(l.errs, err)
				l.mu.Unlock()
			}
			l.count.Add(1)
			select {
			case <-l.stop:
				return
			case <-time.After(pause):
			}
		}
	})
}

func (l *load) request(client *http.Client, method string, i int) error {
	want := []byte{}
	if method == http.MethodPost {
		want = bytes.Repeat(fmt.Append(nil, i%10), 2000)
	}
	// Without GetBody the client could not send the body again.
	req, err := http.NewRequest(method, l.url, io.NopCloser(bytes.NewReader(want)))
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(want))
	var used *usedConn
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		used = info.Conn.(*usedConn)
		used.rested.Store(0)
	}})))
	if err != nil {
		if used != nil && time.Duration(used.rested.Load()) >= longRest {
			return nil
		}
		return err
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return fmt.Errorf("%s answered %s with %d bytes, want %d", method, resp.Status, len(got), len(want))
	}
	return nil
}

func (l *load) close() error {
	close(l.stop)
	l.wg.Wait()
	for _, transport := range l.transports {
		transport.CloseIdleConnections()
	}
	return errors.Join(l.errs...)
}

// TestHandOver keeps replacing the server under load. No request may fail, not even a
// POST on a kept-alive connection, unless the connection has rested.
func TestHandOver(t *testing.T) {
	const rounds = 12
	socket := newShared(t)
	server, wait := socket.start(echo(0))
	l := &load{url: socket.url(), stop: make(chan struct{})}
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		for _, pause := range []time.Duration{0, 0, time.Millisecond, 20 * time.Millisecond, 130 * time.Millisecond} {
			l.client(&http.Transport{DialContext: dialUsed}, method, pause)
		}
		l.client(&http.Transport{DialContext: dialUsed, DisableKeepAlives: true}, method, 0)
		// Clients that share connections dial some that they use late or never.
		pool := &http.Transport{DialContext: dialUsed, MaxIdleConnsPerHost: 4}
		for range 4 {
			l.client(pool, method, time.Millisecond)
		}
	}
	for round := 1; round <= rounds; round++ {
		before := l.count.Load()
		next, waitNext := socket.start(echo(round))
		if err := server.Drain(within(t, time.Minute)); err != nil {
			t.Errorf("round %d: Drain = %v", round, err)
		}
		wait()
		server, wait = next, waitNext
		for l.count.Load() < before+200 {
			time.Sleep(time.Millisecond)
		}
	}
	if err := l.close(); err != nil {
		t.Errorf("of %d requests some failed: %v", l.count.Load(), err)
	}
	if err := server.Drain(within(t, time.Minute)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	wait()
}

// A client that rests must reach the new server with its next request.
func TestRestedClientReachesTheNextServer(t *testing.T) {
	socket := newShared(t)
	old, waitOld := socket.start(echo(1))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	number := func() string {
		resp, err := client.Get(socket.url())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.Header.Get("Server-Number")
	}
	if got := number(); got != "1" {
		t.Fatalf("server %s answers, want 1", got)
	}
	next, waitNext := socket.start(echo(2))
	if err := old.Drain(within(t, time.Minute)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	waitOld()
	if got := number(); got != "2" {
		t.Errorf("server %s answers after the drain, want 2", got)
	}
	client.CloseIdleConnections()
	if err := next.Drain(within(t, time.Minute)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	waitNext()
}

// os/exec puts a socket that it passes on into blocking mode for all processes that
// share it. A server that waits in accept must still notice that its listener was
// closed.
func TestDrainOfABlockingSocket(t *testing.T) {
	socket := newShared(t)
	server, wait := socket.start(echo(1))
	file, err := socket.ln.File()
	if err != nil {
		t.Fatal(err)
	}
	file.Fd() // makes the socket block
	// The accept after this request's is the one that blocks.
	resp, err := http.Post(socket.url(), "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Drain(within(t, time.Minute)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	wait()
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}
