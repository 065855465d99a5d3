package forward_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"devloop/internal/forward"
	"devloop/internal/testkit"
)

// secure runs a server that speaks TLS, and returns a client for it too.
func secure(t *testing.T, h http.HandlerFunc) (*forward.Backend, *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	b := forward.NewBackend(server.Listener.Addr().String())
	t.Cleanup(b.Close)
	config := server.Client().Transport.(*http.Transport).TLSClientConfig
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}}
	t.Cleanup(client.CloseIdleConnections)
	return b, client
}

// answer begins a request, and returns what gets the body of the answer, or the error.
func answer(client *http.Client, url string) <-chan string {
	got := make(chan string, 1)
	go func() {
		resp, err := client.Get(url)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	return got
}

// TestTLS passes a connection through. After a swap it stays while it is used,
// and new ones go to the new backend.
func TestTLS(t *testing.T) {
	p := start(t, forward.Options{Quiet: 3 * time.Second})
	old, client := secure(t, text("old"))
	next, fresh := secure(t, text("new"))
	p.Switch(old)
	ask := func(c *http.Client, want string) {
		t.Helper()
		resp, err := c.Get("https://" + p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != want || resp.ProtoMajor != 2 {
			t.Errorf("get = %q by %s, want %q by HTTP/2.0", body, resp.Proto, want)
		}
	}
	ask(client, "old")
	if got, want := old.Load(), (forward.Load{Connections: 1}); got != want {
		t.Errorf("Load() = %+v, want %+v", got, want)
	}
	p.Switch(next)
	ask(client, "old")
	ask(fresh, "new")
	testkit.Within(t, "the old backend to be idle", old.Idle())
	client.CloseIdleConnections() // it may not have noticed yet that its connection is closed
	ask(client, "new")
}

// TestTLSWaitsForTheAnswer does not close a connection on which the client was
// the last to send, as long as it may be waiting.
func TestTLSWaitsForTheAnswer(t *testing.T) {
	const quiet = 500 * time.Millisecond // in which an answer passes
	p := start(t, forward.Options{Quiet: quiet})
	began := make(chan bool)
	old, client := secure(t, func(w http.ResponseWriter, _ *http.Request) {
		began <- true
		time.Sleep(2 * quiet) // what is tested is how a silence of this length is understood
		io.WriteString(w, "old")
	})
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	client.Transport.(*http.Transport).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	p.Switch(old)
	got := answer(client, "https://"+p.addr)
	testkit.Within(t, "the request", began)
	p.Switch(nil)
	if g := testkit.Within(t, "the answer", got); g != "old" {
		t.Errorf("get = %q, want old", g)
	}
	testkit.Within(t, "the old backend to be idle", old.Idle())
}

// TestTLSWaits holds a connection until there is a backend.
func TestTLSWaits(t *testing.T) {
	p := start(t, forward.Options{})
	b, client := secure(t, text("hello"))
	got := answer(client, "https://"+p.addr)
	left := dial(t, p.addr)
	left.send("\x16\x03\x01")
	left.CloseWrite()
	left.rest() // its end is noticed
	p.Switch(b)
	if g := testkit.Within(t, "the answer", got); g != "hello" {
		t.Errorf("get = %q, want hello", g)
	}
}
