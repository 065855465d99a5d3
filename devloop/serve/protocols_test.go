package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// certificate returns a TLS configuration with a certificate for 127.0.0.1.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}
}

// trusting returns a client's configuration that accepts certificate's.
func trusting(server *tls.Config) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificates[0].Leaf)
	return &tls.Config{RootCAs: pool}
}

func protocols(set ...func(*http.Protocols, bool)) *http.Protocols {
	p := &http.Protocols{}
	for _, s := range set {
		s(p, true)
	}
	return p
}

// TestHandOverProtocols replaces the server under load, for each protocol that net/http
// speaks. Every request is answered, on the protocol that was asked for.
func TestHandOverProtocols(t *testing.T) {
	secured := certificate(t)
	tests := []struct {
		name   string
		server http.Server // a template
		client *http.Protocols
		proto  string
		once   bool // bodies cannot be sent twice
	}{
		{"TLS", http.Server{TLSConfig: secured}, protocols((*http.Protocols).SetHTTP1), "HTTP/1.1", true},
		{"HTTP/2", http.Server{TLSConfig: secured}, protocols((*http.Protocols).SetHTTP2), "HTTP/2.0", false},
		{
			"HTTP/2 without TLS",
			http.Server{Protocols: protocols((*http.Protocols).SetHTTP1, (*http.Protocols).SetUnencryptedHTTP2)},
			protocols((*http.Protocols).SetUnencryptedHTTP2), "HTTP/2.0", true,
		},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			socket := newShared(t)
			start := func() (*Server, chan error) {
				server := New(&http.Server{
					TLSConfig: tt.server.TLSConfig, Protocols: tt.server.Protocols, ErrorLog: discard(),
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Proto != tt.proto {
							http.Error(w, r.Proto, http.StatusHTTPVersionNotSupported)
							return
						}
						_, _ = io.Copy(w, r.Body)
					}),
				})
				served := make(chan error, 1)
				go func() { served <- server.serve(socket.listener()) }()
				return server, served
			}
			url := "http://" + socket.addr()
			if tt.server.TLSConfig != nil {
				url = "https://" + socket.addr()
			}
			var clients sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			counts := make([]atomic.Int64, 6)
			for i := range counts {
				clients.Go(func() {
					transport := &http.Transport{TLSClientConfig: trusting(secured), Protocols: tt.client}
					client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
					defer client.CloseIdleConnections()
					body := bytes.Repeat([]byte{byte(i)}, 2000)
					for ; ctx.Err() == nil; counts[i].Add(1) {
						if err := post(client, url, body, tt.once); err != nil && !clientsFault(err) {
							t.Errorf("request %d: %v", counts[i].Load(), err)
							return
						}
					}
				})
			}
			server, served := start()
			for range 6 {
				for i := range counts {
					before := counts[i].Load()
					testkit.Eventually(t, "answers for each client", func() bool { return t.Failed() || counts[i].Load() > before+1 })
				}
				next, nextServed := start()
				if err := server.Drain(within(t, 20*time.Second)); err != nil {
					t.Errorf("Drain = %v", err)
				}
				if err := <-served; err != nil {
					t.Errorf("serve = %v", err)
				}
				server, served = next, nextServed
			}
			cancel()
			clients.Wait()
			if err := server.Drain(within(t, 20*time.Second)); err != nil {
				t.Errorf("Drain = %v", err)
			}
			if err := <-served; err != nil {
				t.Errorf("serve = %v", err)
			}
		})
	}
}

// clientsFault reports whether net/http's client has lost a request by itself: it closes
// the body of one that it has not begun when GOAWAY arrives, and cannot begin it on
// another connection then.
func clientsFault(err error) bool {
	return strings.HasSuffix(err.Error(), "net/http: cannot rewind body after connection loss")
}

// post sends a body and wants it back. One that is sent once has no GetBody.
func post(client *http.Client, url string, body []byte, once bool) error {
	var reader io.Reader = bytes.NewReader(body)
	if once {
		reader = io.NopCloser(reader)
	}
	resp, err := client.Post(url, "application/octet-stream", reader)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, body) {
		return fmt.Errorf("got %s with %d bytes, want %d: %.50s", resp.Status, len(got), len(body), got)
	}
	return nil
}

// A request of HTTP/2 that is under way goes on after GOAWAY, while others come.
func TestDrainFinishesHTTP2(t *testing.T) {
	secured := certificate(t)
	socket := newShared(t)
	entered, release := make(chan struct{}), make(chan struct{})
	old := New(&http.Server{TLSConfig: secured, ErrorLog: discard(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" { // it may come before the GOAWAY
			echo(1).ServeHTTP(w, r)
			return
		}
		_ = http.NewResponseController(w).Flush()
		close(entered)
		<-release
		_, _ = io.WriteString(w, "old")
	})})
	served := make(chan error, 1)
	go func() { served <- old.ServeTLS(socket.listener(), "", "") }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting(secured), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	slow, err := client.Get("https://" + socket.addr() + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	<-entered
	next := New(&http.Server{TLSConfig: secured, ErrorLog: discard(), Handler: echo(2)})
	nextServed := make(chan error, 1)
	go func() { nextServed <- next.ServeTLS(socket.listener(), "", "") }()
	result := drain(t, old, 20*time.Second)
	if err := post(client, "https://"+socket.addr(), []byte("x"), false); err != nil {
		t.Errorf("a request after the GOAWAY: %v", err)
	}
	close(release)
	if text, err := io.ReadAll(slow.Body); err != nil || string(text) != "old" || slow.ProtoMajor != 2 {
		t.Errorf("the request under way got %q, %v by %s, want old by HTTP/2", text, err, slow.Proto)
	}
	if err := result(); err != nil {
		t.Errorf("Drain = %v", err)
	}
	client.CloseIdleConnections()
	if err := next.Drain(within(t, 20*time.Second)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := <-nextServed; err != nil {
		t.Error(err)
	}
}

// An idle TLS connection is closed with TLS's own goodbye, whether it has had a request,
// a handshake, or nothing.
func TestDrainClosesIdleTLS(t *testing.T) {
	secured := certificate(t)
	secured.NextProtos = []string{"http/1.1"}
	socket := newShared(t)
	server := New(&http.Server{TLSConfig: secured, Handler: echo(1), ErrorLog: discard()})
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(socket.listener(), "", "") }()
	silent := dial(t, socket.addr())
	var conns []*tls.Conn
	for range 2 {
		tc := tls.Client(dial(t, socket.addr()).Conn, &tls.Config{RootCAs: trusting(secured).RootCAs, ServerName: "127.0.0.1"})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, tc)
	}
	if _, err := io.WriteString(conns[1], "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := server.Drain(within(t, 20*time.Second)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	if took := time.Since(begun); took >= stalled {
		t.Errorf("Drain of idle connections took %v, want less than %v", took, stalled)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	silent.wantClosed()
	for i, want := range []string{"", "HTTP/1.1 200 OK\r\n"} {
		// Without a goodbye, ReadAll would say "unexpected EOF".
		if got, err := io.ReadAll(conns[i]); err != nil || !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 {
			t.Errorf("connection %d got %q, %v, want %q and the end", i, got, err, want)
		}
	}
}

// A request that takes longer than anything else is not cut, nor is a connection that a
// handler has taken over.
func TestDrainWaitsForLongRequests(t *testing.T) {
	socket := newShared(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var shutdown sync.WaitGroup
	shutdown.Add(1)
	given := &http.Server{ErrorLog: discard(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/download" {
			_, _ = io.WriteString(w, "begin ")
			w.(http.Flusher).Flush()
			entered <- struct{}{}
			<-release
			_, _ = io.WriteString(w, "end")
			return
		}
		nc, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer nc.Close()
			entered <- struct{}{}
			line, err := rw.ReadString('\n')
			if err == nil {
				_, err = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"+line)
			}
			if err != nil {
				t.Error(err)
			}
		}()
	})}
	given.RegisterOnShutdown(shutdown.Done)
	server := New(given)
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket.listener()) }()
	upgraded := dial(t, socket.addr())
	upgraded.send(get)
	<-entered
	download := dial(t, socket.addr())
	download.send("GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	drained := make(chan error, 1)
	go func() { drained <- server.Drain(t.Context()) }()
	shutdown.Wait() // the functions that were registered run when the drain begins
	select {
	case err := <-drained:
		t.Fatalf("Drain = %v, though there are requests", err)
	case <-time.After(3 * quiet):
	}
	close(release)
	resp, err := http.ReadResponse(download.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "begin end" {
		t.Errorf("the download is %q, %v, want all of it", text, err)
	}
	select {
	case err := <-drained:
		t.Fatalf("Drain = %v, though a connection is still in use", err)
	case <-time.After(3 * quiet):
	}
	upgraded.send("hi\n")
	upgraded.answer()
	upgraded.wantClosed()
	if err := <-drained; err != nil {
		t.Errorf("Drain = %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestWriterKeepsInterfaces: programs look for more than http.ResponseWriter has.
func TestWriterKeepsInterfaces(t *testing.T) {
	socket := newShared(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	var missing []string
	server, wait := socket.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check := func(name string, ok bool) {
			if !ok {
				missing = append(missing, name)
			}
		}
		_, ok := w.(http.Flusher)
		check("Flusher", ok)
		_, ok = w.(http.Hijacker)
		check("Hijacker", ok)
		_, ok = w.(io.ReaderFrom)
		check("ReaderFrom", ok)
		_, ok = w.(io.StringWriter)
		check("StringWriter", ok)
		_, ok = w.(interface{ CloseNotify() <-chan bool })
		check("CloseNotifier", ok)
		check("SetWriteDeadline", http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)) == nil)
		check("EnableFullDuplex", http.NewResponseController(w).EnableFullDuplex() == nil)
		http.ServeFile(w, r, file)
	}))
	resp, err := http.Get(socket.url())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 100_000 || err != nil {
		t.Errorf("the file has %d bytes, %v, want 100000", n, err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if len(missing) > 0 {
		t.Errorf("the writer lacks %q", missing)
	}
	if err := server.Drain(within(t, 20*time.Second)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	wait()
}

// A switch of protocols during the drain keeps its header.
func TestUpgradeDuringTheDrain(t *testing.T) {
	socket := newShared(t)
	server, wait := socket.start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		nc, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if err := nc.Close(); err != nil {
			t.Error(err)
		}
	}))
	c := dial(t, socket.addr())
	c.send(get[:5])
	other := dial(t, socket.addr())
	other.send(get)
	if _, err := http.ReadResponse(other.r, nil); err != nil { // so c was accepted, which came before it
		t.Fatal(err)
	}
	result := drain(t, server, 20*time.Second)
	c.send(get[5:])
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Connection") != "Upgrade" {
		t.Errorf("the answer is %+v, %v, want 101 with Connection: Upgrade", resp, err)
	}
	if err := result(); err != nil {
		t.Errorf("Drain = %v", err)
	}
	wait()
}

// TestCopied: each exported field of http.Server is taken over, whatever version of Go
// adds it.
func TestCopied(t *testing.T) {
	from := &http.Server{
		Addr: "a", ReadTimeout: 1, ReadHeaderTimeout: 2, WriteTimeout: 3, IdleTimeout: 4, MaxHeaderBytes: 5,
		DisableGeneralOptionsHandler: true, HTTP2: &http.HTTP2Config{}, TLSConfig: &tls.Config{ServerName: "x"},
	}
	to := copied(from)
	if to.Addr != "a" || to.ReadTimeout != 1 || to.ReadHeaderTimeout != 2 || to.WriteTimeout != 3 || to.IdleTimeout != 4 ||
		to.MaxHeaderBytes != 5 || !to.DisableGeneralOptionsHandler || to.HTTP2 != from.HTTP2 || to.TLSConfig.ServerName != "x" {
		t.Errorf("copied(%+v) = %+v", from, to)
	}
	if to.TLSConfig == from.TLSConfig {
		t.Error("the copy shares the TLS configuration, to which net/http adds")
	}
}

// TestStopDoesNotWaitForAClient that reads nothing of an endless answer over HTTP/2
// without TLS: the others must be told to go.
func TestStopDoesNotWaitForAClient(t *testing.T) {
	socket := newShared(t)
	begun := make(chan bool)
	server, wait := socket.startServer(&http.Server{
		Protocols: protocols((*http.Protocols).SetHTTP1, (*http.Protocols).SetUnencryptedHTTP2),
		ErrorLog:  discard(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			for p := make([]byte, 1<<20); ; {
				if _, err := w.Write(p); err != nil {
					return
				}
			}
		}),
	})
	c := dial(t, socket.addr())
	const window = "\x7f\x00\x00\x00" // nearly all that RFC 9113, section 6.9.1, allows
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04" + window + // SETTINGS_INITIAL_WINDOW_SIZE
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + window + // WINDOW_UPDATE of the connection
		"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01x") // HEADERS of GET / at x
	<-begun
	var f *frames
	for stuck := 0; stuck < 50; stuck++ { // until a frame waits for the client
		server.mu.Lock()
		for c := range server.conns {
			f = c.frames.Load()
		}
		server.mu.Unlock()
		if f == nil || f.mu.TryLock() {
			if stuck = -1; f != nil {
				f.mu.Unlock()
			}
		}
		<-time.After(time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() { server.Stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("Stop waits for a client that reads nothing")
	}
	if err := server.Drain(within(t, 10*time.Millisecond)); err == nil {
		t.Error("Drain = nil, want that the client was cut")
	}
	wait()
}

// The boundary between two frames is found however they are cut into writes.
func TestFrames(t *testing.T) {
	frame := func(payload int) []byte {
		return append([]byte{byte(payload >> 16), byte(payload >> 8), byte(payload), 0, 0, 0, 0, 0, 1}, make([]byte, payload)...)
	}
	tests := []struct {
		name   string
		writes [][]byte
		want   bool // GOAWAY can be said after these
	}{
		{"nothing", nil, false},
		{"an empty frame", [][]byte{frame(0)}, true},
		{"a frame", [][]byte{frame(70_000)}, true},
		{"two frames at once", [][]byte{append(frame(3), frame(4)...)}, true},
		{"a part of a header", [][]byte{frame(3)[:8]}, false},
		{"a header", [][]byte{frame(3)[:9]}, false},
		{"a part of a payload", [][]byte{frame(300)[:308]}, false},
		{"the rest of a header", [][]byte{frame(0)[:1], frame(0)[1:]}, true},
		{"the rest of a payload", [][]byte{frame(300)[:200], frame(300)[200:]}, true},
		{"a frame and a part", [][]byte{append(frame(5), frame(6)[:7]...)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			received := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(theirs)
				received <- all
			}()
			f := &frames{to: ours}
			sent := 0
			for _, p := range tt.writes {
				n, err := f.write(p)
				if err != nil {
					t.Fatal(err)
				}
				sent += n
			}
			f.goAway()
			f.goAway()
			if f.said != tt.want {
				t.Errorf("goAway after %d bytes said GOAWAY: %v, want %v", sent, f.said, tt.want)
			}
			ours.Close()
			want := sent
			if tt.want {
				want += len(goAwayFrame)
			}
			if got := <-received; len(got) != want {
				t.Errorf("%d bytes were sent, want %d", len(got), want)
			}
		})
	}
}
