package serve

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rawClient is one connection, driven by hand.
type rawClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t, nc, bufio.NewReader(nc)}
}

func (c *rawClient) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

func (c *rawClient) answer() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("read an answer: %v", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		c.t.Fatalf("read an answer's body: %v", err)
	}
	return resp
}

func (c *rawClient) wantClosed() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Errorf("read = %q, %v, want the end of the connection", b, err)
	}
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// drain stops s, and drains it in the background.
func drain(t *testing.T, s *Server, timeout time.Duration) (result func() error) {
	t.Helper()
	s.Stop()
	done := make(chan error, 1)
	ctx := within(t, timeout)
	go func() { done <- s.Drain(ctx) }()
	return func() error { return <-done }
}

func TestDrainAnswersWhatIsUnderWay(t *testing.T) {
	socket := newShared(t)
	entered, release := make(chan struct{}), make(chan struct{})
	server, wait := socket.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-release
		}
		// Nothing is written: net/http answers with an empty 200.
	}))

	slow := dial(t, socket.addr())
	slow.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
	<-entered
	halfNew := dial(t, socket.addr())
	halfNew.send(get[:10])
	halfIdle := dial(t, socket.addr())
	halfIdle.send(get)
	if resp := halfIdle.answer(); resp.Close {
		t.Error("an answer before the drain says Connection: close")
	}
	halfIdle.send(get[:10])
	dialled := time.Now()
	fresh := dial(t, socket.addr())
	used := dial(t, socket.addr())
	used.send(get)
	used.answer()
	// All of these were accepted in order before the last was answered. The
	// halves have reached the kernel, whether or not the server has read them.

	result := drain(t, server, 20*time.Second)
	fresh.send(get)
	close(release)
	halfNew.send(get[10:])
	halfIdle.send(get[10:])
	clients := map[string]*rawClient{"slow": slow, "halfNew": halfNew, "halfIdle": halfIdle, "fresh": fresh}
	if time.Since(dialled) >= quiet {
		delete(clients, "fresh") // it may have been closed, as one that is not used
	}
	for name, c := range clients {
		if resp := c.answer(); resp.StatusCode != http.StatusOK || !resp.Close {
			t.Errorf("%s: answer during the drain = %s, close %t, want 200 OK with Connection: close", name, resp.Status, resp.Close)
		}
		c.wantClosed()
	}
	used.wantClosed()
	if err := result(); err != nil {
		t.Errorf("Drain = %v", err)
	}
	wait()
}

func TestDrainCutsAtTheDeadline(t *testing.T) {
	socket := newShared(t)
	entered := make(chan struct{}, 2)
	server, wait := socket.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/upgrade" {
			if _, _, err := w.(http.Hijacker).Hijack(); err != nil {
				t.Error(err)
			}
			entered <- struct{}{}
			return
		}
		entered <- struct{}{}
		<-r.Context().Done()
	}))
	slow, upgraded := dial(t, socket.addr()), dial(t, socket.addr())
	slow.send(get)
	upgraded.send("GET /upgrade HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	<-entered
	err := server.Drain(within(t, 10*time.Millisecond))
	if cut, ok := errors.AsType[*CutError](err); !ok || *cut != (CutError{Connections: 2, Hijacked: 1}) {
		t.Errorf("Drain = %v, want what was cut", err)
	}
	if want := "2 connections were cut, 1 of them WebSockets or the like"; err == nil || err.Error() != want {
		t.Errorf("Drain = %v, want %s", err, want)
	}
	wait()
	slow.wantClosed()
	upgraded.wantClosed()
}

func TestStopBeforeServe(t *testing.T) {
	socket := newShared(t)
	server := New(&http.Server{Handler: echo(1), ErrorLog: discard()})
	server.Stop()
	if err := server.Serve(socket.listener()); err != nil {
		t.Errorf("Serve after Stop = %v, want nil", err)
	}
	if err := server.Drain(t.Context()); err != nil {
		t.Errorf("Drain = %v", err)
	}
}

func TestServeReportsAFailedListener(t *testing.T) {
	socket := newShared(t)
	ln := socket.listener()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	server := New(&http.Server{Handler: echo(1), ErrorLog: discard()})
	if err := server.Serve(ln); err == nil {
		t.Error("Serve on a closed listener = nil, want an error")
	}
	if err := server.Drain(t.Context()); err != nil {
		t.Errorf("Drain after a failed Serve = %v", err)
	}
}

// A listener that speaks TLS would hide the connections whose bytes Drain counts.
func TestServeRefusesATLSListener(t *testing.T) {
	socket := newShared(t)
	ln := tls.NewListener(socket.listener(), certificate(t))
	server := New(&http.Server{Handler: echo(1), ErrorLog: discard()})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	dial(t, socket.addr())
	if err := <-served; err == nil || !strings.Contains(err.Error(), "call ServeTLS") {
		t.Errorf("Serve of a TLS listener = %v, want an error that says what to call", err)
	}
}

func TestIsQuiet(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name     string
		conn     conn
		received int64
		age      time.Duration
		want     bool
	}{
		{"accepted just now", conn{state: http.StateNew}, 0, 849 * ms, false},
		{"accepted long ago", conn{state: http.StateNew}, 0, 850 * ms, true},
		{"first request is coming in", conn{state: http.StateNew}, 1, stalled - ms, false},
		{"first request does not come in", conn{state: http.StateNew}, 1, stalled, true},
		{"busy", conn{state: http.StateActive}, 0, time.Hour, false},
		{"hijacked", conn{state: http.StateHijacked}, 0, time.Hour, false},
		{"idle just now", conn{state: http.StateIdle}, 0, 849 * ms, false},
		{"idle", conn{state: http.StateIdle}, 0, 850 * ms, true},
		{"next request is coming in", conn{state: http.StateIdle}, 1, stalled - ms, false},
		{"next request does not come in", conn{state: http.StateIdle}, 1, stalled, true},
		{"HTTP/2", conn{state: http.StateIdle, http2: true}, 0, time.Hour, false},
		{"TLS, without a handshake", conn{state: http.StateNew, tls: &tls.Conn{}}, 0, 850 * ms, true},
		{"TLS, in the handshake", conn{state: http.StateNew, tls: &tls.Conn{}}, 1, stalled - ms, false},
		{"TLS, after the handshake", conn{state: http.StateNew, tls: &tls.Conn{}, shaken: true}, 0, 850 * ms, true},
		{"TLS, request is coming in", conn{state: http.StateNew, tls: &tls.Conn{}, shaken: true}, 1, stalled - ms, false},
	}
	for i := range tests {
		tt, now := &tests[i], time.Unix(0, 0)
		c := &tt.conn
		c.enter(c.state, now)
		c.received.Add(tt.received)
		c.isQuiet(now) // the drain's first look
		if got := c.isQuiet(now.Add(tt.age)); got != tt.want {
			t.Errorf("%s: isQuiet after %v = %t, want %t", tt.name, tt.age, got, tt.want)
		}
	}
}

func TestHasInput(t *testing.T) {
	socket := newShared(t)
	ln := socket.listener()
	defer ln.Close()
	client := dial(t, socket.addr())
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if hasInput(nc) {
		t.Error("hasInput before a byte was sent = true, want false")
	}
	client.send("x")
	// The kernel may bring it over only later.
	for end := time.Now().Add(20 * time.Second); !hasInput(nc); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("hasInput after a byte was sent = false, want true")
		}
	}
	if b, err := bufio.NewReader(nc).ReadByte(); err != nil || b != 'x' {
		t.Errorf("the byte is still there to read: got %q, %v", b, err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if hasInput(nc) {
		t.Error("hasInput at the end of the connection = true, want false")
	}
}
