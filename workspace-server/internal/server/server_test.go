package server

import (
	"bufio"
	"fmt"
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

// drain drains in the background, and returns when the listener is closed.
func drain(t *testing.T, s *Server, timeout time.Duration) (result func() error) {
	t.Helper()
	closed := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- s.Drain(timeout, func() { close(closed) }) }()
	<-closed
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
	for name, c := range map[string]*rawClient{"slow": slow, "halfNew": halfNew, "halfIdle": halfIdle, "fresh": fresh} {
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

func TestDrainCutsAtTheTimeout(t *testing.T) {
	socket := newShared(t)
	entered := make(chan struct{})
	server, wait := socket.start(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	c := dial(t, socket.addr())
	c.send(get)
	<-entered
	err := server.Drain(10*time.Millisecond, func() {})
	if err == nil || !strings.Contains(err.Error(), "1 connections were cut") {
		t.Errorf("Drain = %v, want an error that says what was cut", err)
	}
	wait()
}

func TestDrainBeforeServe(t *testing.T) {
	socket := newShared(t)
	server := New(echo(1), discard())
	result := drain(t, server, 20*time.Second)
	if err := server.Serve(socket.listener()); err != nil {
		t.Errorf("Serve after Drain = %v, want nil", err)
	}
	if err := result(); err != nil {
		t.Errorf("Drain = %v", err)
	}
}

func TestServeReportsAFailedListener(t *testing.T) {
	socket := newShared(t)
	ln := socket.listener()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	server := New(echo(1), discard())
	if err := server.Serve(ln); err == nil {
		t.Error("Serve on a closed listener = nil, want an error")
	}
	if err := server.Drain(time.Second, func() {}); err != nil {
		t.Errorf("Drain after a failed Serve = %v", err)
	}
}

func TestIsQuiet(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name     string
		state    http.ConnState
		received int64
		age      time.Duration
		want     bool
	}{
		{"accepted just now", http.StateNew, 0, 849 * ms, false},
		{"accepted long ago", http.StateNew, 0, 850 * ms, true},
		{"first request is coming in", http.StateNew, 1, time.Hour, false},
		{"busy", http.StateActive, 0, time.Hour, false},
		{"idle just now", http.StateIdle, 0, 849 * ms, false},
		{"idle", http.StateIdle, 0, 850 * ms, true},
		{"next request is coming in", http.StateIdle, 1, time.Hour, false},
	}
	for _, tt := range tests {
		now := time.Unix(0, 0)
		c := &conn{}
		c.enter(tt.state, now)
		c.received.Add(tt.received)
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

func ExampleServer_Drain() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := New(http.NotFoundHandler(), discard())
	go func() { _ = server.Serve(ln) }()
	err = server.Drain(time.Second, func() { fmt.Println("another process takes over") })
	fmt.Println(err)
	// Output:
	// another process takes over
	// <nil>
}
