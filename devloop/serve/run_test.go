package serve

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// manager is a service manager's socket for notices.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	name := filepath.Join(testkit.ShortDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return &manager{t, conn}
}

// notice returns the next one, or "" if there is none.
func (m *manager) notice(patience time.Duration) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _ := m.conn.Read(buf)
	return string(buf[:n])
}

// TestRun runs two servers, of which one speaks TLS, from the start to the end.
func TestRun(t *testing.T) {
	m := newManager(t)
	ctx, stop := context.WithCancel(t.Context())
	secured := certificate(t)
	plain := &http.Server{Addr: "127.0.0.1:0", Handler: echo(1), ErrorLog: discard()}
	safe := &http.Server{Addr: "127.0.0.1:0", Handler: echo(2), ErrorLog: discard(), TLSConfig: secured}
	addrs := make(chan net.Addr, 1)
	safeAddrs := make(chan net.Addr, 1)
	plain.BaseContext = func(ln net.Listener) context.Context { addrs <- ln.Addr(); return context.Background() }
	safe.BaseContext = func(ln net.Listener) context.Context { safeAddrs <- ln.Addr(); return context.Background() }
	done := make(chan error, 1)
	go func() { done <- Run(ctx, plain, safe) }()
	if got := m.notice(20 * time.Second); got != Ready {
		t.Fatalf("the first notice is %q, want %s", got, Ready)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting(secured)}}
	for _, url := range []string{"http://" + (<-addrs).String(), "https://" + (<-safeAddrs).String()} {
		if err := post(client, url, []byte("x"), false); err != nil {
			t.Errorf("POST %s: %v", url, err)
		}
	}
	client.CloseIdleConnections()
	stop()
	if got := m.notice(20 * time.Second); got != Stopping {
		t.Errorf("the second notice is %q, want %s", got, Stopping)
	}
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// TestRunFails: what cannot serve is not called ready, and nothing stays behind.
func TestRunFails(t *testing.T) {
	m := newManager(t)
	free := func() *http.Server { return &http.Server{Addr: "127.0.0.1:0", Handler: echo(1), ErrorLog: discard()} }
	taken := free()
	taken.Addr = newShared(t).addr()
	err := Run(t.Context(), free(), taken)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Run on a taken address = %v, want an error", err)
	}
	if got := m.notice(10 * time.Millisecond); got != "" {
		t.Errorf("it said %q, want nothing", got)
	}

	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "missing"))
	if err := Run(t.Context(), free()); err == nil || !strings.Contains(err.Error(), "send READY=1 to NOTIFY_SOCKET") {
		t.Errorf("Run without a reader of notices = %v, want an error", err)
	}

	t.Setenv("LISTEN_FDS", "none")
	if err := Run(t.Context(), free()); err == nil || !strings.Contains(err.Error(), `LISTEN_FDS="none"`) {
		t.Errorf("Run with a wrong LISTEN_FDS = %v, want an error", err)
	}
}

// TestRunEndsWithAServer: if one server fails, the others drain, and Run says why.
func TestRunEndsWithAServer(t *testing.T) {
	newManager(t)
	broken := &http.Server{Addr: "127.0.0.1:0", ErrorLog: discard()}
	broken.BaseContext = func(ln net.Listener) context.Context { _ = ln.Close(); return context.Background() }
	other := &http.Server{Addr: "127.0.0.1:0", Handler: echo(2), ErrorLog: discard()}
	begun := make(chan struct{})
	other.BaseContext = func(net.Listener) context.Context { close(begun); return context.Background() }
	brokenBase := broken.BaseContext
	broken.BaseContext = func(ln net.Listener) context.Context { <-begun; return brokenBase(ln) }
	if err := Run(t.Context(), broken, other); err == nil || !strings.Contains(err.Error(), "use of closed network connection") {
		t.Errorf("Run = %v, want the error of the server that failed", err)
	}
}
