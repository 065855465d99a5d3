package forward_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"devloop/internal/forward"
	"devloop/internal/testkit"
)

// A stand is a proxy under test.
type stand struct {
	*forward.Proxy
	t    testing.TB
	addr string
	stop func() <-chan error // begins the end
}

// start runs a proxy until the test ends.
func start(t testing.TB, o forward.Options) *stand {
	t.Helper()
	return startOn(t, "127.0.0.1:0", o)
}

func startOn(t testing.TB, addr string, o forward.Options) *stand {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := forward.New(l, o)
	served := make(chan error, 1)
	done := make(chan struct{})
	go func() { served <- p.Serve(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		testkit.Within(t, "Serve to return", done)
	})
	return &stand{p, t, l.Addr().String(), func() <-chan error { cancel(); return served }}
}

// serve runs a real server as the backend that p switches to.
func (s *stand) serve(h http.HandlerFunc) (*forward.Backend, *http.Server) {
	s.t.Helper()
	b, server := backend(s.t, h)
	s.Switch(b)
	return b, server
}

// backend runs a real server until the test ends.
func backend(t testing.TB, h http.HandlerFunc) (*forward.Backend, *http.Server) {
	t.Helper()
	server := &http.Server{Handler: h, ErrorLog: quiet()}
	return run(t, server), server
}

func run(t testing.TB, server *http.Server) *forward.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	b := forward.NewBackend(l.Addr().String())
	t.Cleanup(func() {
		b.Close()
		server.Close()
	})
	return b
}

// script runs a backend that handles each connection as the test says.
func script(t testing.TB, handle func(c net.Conn, r *bufio.Reader)) *forward.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c, bufio.NewReader(c))
			}()
		}
	}()
	b := forward.NewBackend(l.Addr().String())
	t.Cleanup(func() {
		l.Close()
		b.Close()
	})
	return b
}

// says returns a script that reads a head and answers with a text.
func says(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			io.WriteString(c, text)
		}
	}
}

// readHead reads a head, byte for byte.
func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// A raw is a client that writes and reads bytes.
type raw struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &raw{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *raw) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("send %.40q: %v", text, err)
	}
}

func (c *raw) head() string {
	c.t.Helper()
	h, err := readHead(c.r)
	if err != nil {
		c.t.Fatalf("read a head: %v, after %q", err, h)
	}
	return h
}

// rest reads to the end.
func (c *raw) rest() (string, error) {
	all, err := io.ReadAll(c.r)
	return string(all), err
}

func (c *raw) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.r, got)
	if string(got[:n]) != want {
		c.t.Fatalf("read %q (%v), want %q", got[:n], err, want)
	}
}

// get asks on a connection of its own and returns "200 body".
func get(addr, path string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

// text is a handler that answers with a text.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

func isIdle(b *forward.Backend) bool {
	select {
	case <-b.Idle():
		return true
	default:
		return false
	}
}
