package api

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, whose deadlines follow the clock of a
// bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// servePipes serves h, within a bubble of synctest, and returns how to connect.
func servePipes(t *testing.T, h http.Handler) (connect func() net.Conn, stop func()) {
	t.Helper()
	ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h, WriteTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // ends when it is closed
	}()
	connect = func() net.Conn {
		client, server := net.Pipe()
		ln.conns <- server
		return client
	}
	return connect, func() { _ = srv.Close(); <-done }
}

// dribble sends a request's header and then its body, a byte each second, until
// the server no longer reads it.
func dribble(conn net.Conn, request, authorization string) {
	const header = " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
	if _, err := io.WriteString(conn, request+header+authorization+"\r\n"); err != nil {
		return
	}
	for {
		time.Sleep(time.Second)
		if _, err := conn.Write([]byte(" ")); err != nil {
			return
		}
	}
}

// A client whose body arrives byte by byte is cut off, whatever the answer is, and
// whether or not a handler reads the body.
func TestSlowBodies(t *testing.T) {
	authorization := "Authorization: Bearer wst_" + strings.Repeat("A", 43) + "\r\n"
	for _, tt := range []struct {
		request, authorization string
		status                 int
		timeout                time.Duration
	}{
		{"POST /v1/tokens", authorization, 400, bodyTimeout}, // reads it
		{"POST /v1/workspaces/ws_a/a2a", authorization, 400, messageTimeout},
		{"POST /v1/tokens", "", 401, bodyTimeout},
		{"POST /nowhere", "", 404, bodyTimeout},
		{"PATCH /healthz", "", 405, bodyTimeout},
		{"GET /healthz", "", 200, bodyTimeout},
	} {
		t.Run(fmt.Sprint(tt.request, " ", tt.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connect, stop := servePipes(t, New(Deps{Tokens: &admins{}, Log: slog.New(slog.DiscardHandler)}))
				conn, start := connect(), time.Now()
				var wg sync.WaitGroup
				wg.Go(func() { dribble(conn, tt.request, tt.authorization) })
				t.Cleanup(func() {
					stop()
					_ = conn.Close()
					wg.Wait()
				})
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("%s: %v", tt.request, err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != tt.status {
					t.Errorf("%s with a slow body = %s, %v, want %d", tt.request, resp.Status, err, tt.status)
				}
				if took := time.Since(start); took > tt.timeout {
					t.Errorf("%s with a slow body is answered after %v, want %v at most", tt.request, took, tt.timeout)
				}
				for n, err := 1, error(nil); err == nil; {
					n, err = conn.Read(make([]byte, n))
				}
				if took := time.Since(start); took > tt.timeout+time.Second {
					t.Errorf("%s with a slow body is cut off after %v, want about %v", tt.request, took, tt.timeout)
				}
			})
		})
	}
}

// A request whose body has arrived has no deadline, and notices when its client goes
// away.
func TestDeadlineEndsWithTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.Handle("POST /x", handler(func(w http.ResponseWriter, r *http.Request) error {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			select {
			case <-time.After(3 * bodyTimeout):
			case <-r.Context().Done():
				return fmt.Errorf("canceled: %w", r.Context().Err())
			}
			return writeJSON(w, 200, string(text))
		}))
		connect, stop := servePipes(t, &edge{mux: mux, log: slog.New(slog.DiscardHandler)})
		conn := connect()
		t.Cleanup(func() {
			stop()
			_ = conn.Close()
		})
		const request = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
		r := bufio.NewReader(conn)
		// Twice: the connection is as good as new after a request.
		for range 2 {
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || string(text) != "\"abc\"\n" {
				t.Errorf("POST /x that takes long = %s %s, %v, want 200", resp.Status, text, err)
			}
			time.Sleep(2 * bodyTimeout)
		}
	})
}
