package forward_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"devloop/internal/forward"
	"devloop/internal/testkit"
)

// TestExpectContinue gets "100 Continue" once and from the backend, or a refusal
// in its place.
func TestExpectContinue(t *testing.T) {
	const head = "POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	p := start(t, forward.Options{})
	read := make(chan bool)
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		<-read
		echo(w, r)
	})
	t.Run("accepted", func(t *testing.T) {
		client := dial(t, p.addr)
		client.send(strings.Replace(head, "%s", "", 1))
		client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := client.r.Peek(1); err == nil {
			t.Errorf("got %q before the backend read", b)
		}
		client.SetReadDeadline(time.Now().Add(time.Minute))
		read <- true
		client.expect("HTTP/1.1 100 Continue\r\n\r\n")
		client.send("hello")
		if h := client.head(); !strings.HasPrefix(h, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("the next head = %q, want 200", h)
		}
		client.expect("hello")
	})
	t.Run("refused", func(t *testing.T) {
		client := dial(t, p.addr)
		client.send(strings.Replace(head, "%s", "refuse", 1))
		if h := client.head(); !strings.HasPrefix(h, "HTTP/1.1 413 ") || !strings.Contains(h, "Connection: close\r\n") {
			t.Errorf("head = %q, want 413 and the connection closed", h)
		}
		client.expect("too large\n")
		if rest, err := client.rest(); rest != "" || err != nil {
			t.Errorf("then %q, %v, want the end", rest, err)
		}
	})
}

// TestUpgrade carries bytes both ways, counts a stream, and keeps it at the
// backend where it began.
func TestUpgrade(t *testing.T) {
	p := start(t, forward.Options{})
	old := script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nfirst")
		io.Copy(c, r)
	})
	p.Switch(old)
	client := dial(t, p.addr)
	client.send("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nearly")
	client.expect("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nfirstearly")
	p.serve(text("new"))
	if got, want := old.Load(), (forward.Load{Streams: 1}); got != want {
		t.Errorf("Load() = %+v, want %+v", got, want)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go client.Write(big)
	client.expect(string(big))
	client.CloseWrite()
	if rest, err := client.rest(); rest != "" || err != nil {
		t.Errorf("after the end was sent: %q, %v, want the end", rest, err)
	}
	testkit.Within(t, "the old backend to be idle", old.Idle())
}

// TestConnect is an upgrade by another name.
func TestConnect(t *testing.T) {
	p := start(t, forward.Options{})
	p.Switch(script(t, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		io.Copy(c, r)
	}))
	client := dial(t, p.addr)
	client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	client.expect("HTTP/1.1 200 OK\r\n\r\n")
	client.send("hello")
	client.expect("hello")
}

// TestEventsAreNotBuffered reads each event before the next is written.
func TestEventsAreNotBuffered(t *testing.T) {
	p := start(t, forward.Options{})
	next := make(chan bool)
	p.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range next {
			io.WriteString(w, "data: x\n\n")
			http.NewResponseController(w).Flush()
		}
	})
	client := dial(t, p.addr)
	client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	next <- true
	client.head()
	client.expect("9\r\ndata: x\n\n\r\n")
	for range 20 {
		next <- true
		client.expect("9\r\ndata: x\n\n\r\n")
	}
	close(next)
	client.expect("0\r\n\r\n")
}

// TestUploadIsNotBuffered has the handler read what was sent so far.
func TestUploadIsNotBuffered(t *testing.T) {
	p := start(t, forward.Options{})
	came := make(chan string)
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				came <- string(b[:n])
			}
			if err != nil {
				break
			}
		}
		io.WriteString(w, r.Trailer.Get("X"))
	})
	client := dial(t, p.addr)
	client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n")
	for _, s := range []string{"a", "b", "c"} {
		client.send("1\r\n" + s + "\r\n")
		if got := testkit.Within(t, "a byte", came); got != s {
			t.Fatalf("the handler read %q, want %q", got, s)
		}
	}
	client.send("0\r\nX: end\r\n\r\n")
	client.head()
	client.expect("end")
}

// TestBothAtOnce answers while the request is still being sent.
func TestBothAtOnce(t *testing.T) {
	p := start(t, forward.Options{})
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		b := make([]byte, 1)
		for {
			if _, err := r.Body.Read(b); err != nil {
				return
			}
			w.Write(b)
			http.NewResponseController(w).Flush()
		}
	})
	client := dial(t, p.addr)
	client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	client.head()
	client.expect("1\r\na\r\n")
	for range 20 {
		client.send("1\r\nb\r\n")
		client.expect("1\r\nb\r\n")
	}
	client.send("0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
	client.expect("0\r\n\r\nHTTP/1.1 200 OK\r\n")
}

// TestLargeBodies go through whole, both ways.
func TestLargeBodies(t *testing.T) {
	p := start(t, forward.Options{})
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		if r.ContentLength > 0 {
			w.Header().Set("Content-Length", r.Header.Get("Content-Length"))
		}
		io.Copy(w, r.Body)
	})
	body := make([]byte, 20<<20)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, length := range []int64{int64(len(body)), -1} {
		req, err := http.NewRequest(http.MethodPost, "http://"+p.addr, io.NopCloser(bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("with length %d: %d bytes came back, %v; want the %d that were sent", length, len(got), err, len(body))
		}
	}
}

// TestEarlyAnswer gives the client an answer that came before its body was read.
func TestEarlyAnswer(t *testing.T) {
	p := start(t, forward.Options{})
	p.serve(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	client := dial(t, p.addr)
	client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
	go client.Write(make([]byte, 1<<20))
	if h := client.head(); !strings.HasPrefix(h, "HTTP/1.1 403 ") || !strings.Contains(h, "Connection: close\r\n") {
		t.Errorf("head = %q, want 403 and the connection closed", h)
	}
	client.expect("no\n")
}

// TestUnreadBodyIsNoRequest closes a connection on which the rest of a body comes
// that the backend did not read, although it promised to go on.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	p := start(t, forward.Options{})
	var mu sync.Mutex
	var got []string
	p.Switch(script(t, func(c net.Conn, r *bufio.Reader) {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		mu.Lock()
		got = append(got, line)
		mu.Unlock()
		c.(*net.TCPConn).SetLinger(0)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	for range 20 {
		client := dial(t, p.addr)
		client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
		go func() {
			for range 1000 {
				if _, err := io.WriteString(client, strings.Repeat("GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", 100)); err != nil {
					return
				}
			}
		}()
		client.rest()
		client.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	for _, line := range got {
		if line != "POST / HTTP/1.1\r\n" {
			t.Fatalf("the backend got %q out of a body", line)
		}
	}
}

// TestClientLeaves tells the backend, whatever it is doing.
func TestClientLeaves(t *testing.T) {
	for _, c := range []struct{ name, request string }{
		{"get", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"post", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"},
		{"streamed", "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"upload", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx"},
	} {
		for _, reset := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				p := start(t, forward.Options{})
				began, left := make(chan bool, 1), make(chan bool, 1)
				b, _ := p.serve(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/stream" {
						http.NewResponseController(w).Flush()
					}
					began <- true
					io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
					left <- true
				})
				client := dial(t, p.addr)
				client.send(c.request)
				testkit.Within(t, "the request", began)
				if reset {
					client.SetLinger(0)
				}
				client.Close()
				testkit.Within(t, "the handler to notice", left)
				testkit.Eventually(t, "nothing in flight", func() bool { return b.Load() == forward.Load{} })
			})
		}
	}
}

// TestWaitingClientLeaves drops a request that waits for a backend.
func TestWaitingClientLeaves(t *testing.T) {
	p := start(t, forward.Options{})
	client := dial(t, p.addr)
	client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
	// The proxy closes its end once it noticed.
	client.CloseWrite()
	if got, err := client.rest(); got != "" || err != nil {
		t.Errorf("the client that left got %q, %v, want the end", got, err)
	}
	var seen atomic.Int64
	p.serve(func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	get(p.addr, "/")
	if n := seen.Load(); n != 1 {
		t.Errorf("the backend saw %d requests, want only the one of the client that stayed", n)
	}
}

// TestHalfClosedClient still gets its answer, as from net/http itself.
func TestHalfClosedClient(t *testing.T) {
	p := start(t, forward.Options{})
	began := make(chan bool, 1)
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done() // which is how net/http understands it
		io.WriteString(w, "hello")
	})
	client := dial(t, p.addr)
	client.send("GET / HTTP/1.0\r\n\r\n")
	testkit.Within(t, "the request", began)
	client.CloseWrite()
	if got, err := client.rest(); !strings.HasSuffix(got, "\r\n\r\nhello") || err != nil {
		t.Errorf("got %q, %v, want hello", got, err)
	}
}

// TestBackendFails says so in a sentence while nothing was answered, and cuts
// the connection once something was.
func TestBackendFails(t *testing.T) {
	reset := func(text string) func(net.Conn, *bufio.Reader) {
		return func(c net.Conn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, text)
			c.(*net.TCPConn).SetLinger(0)
		}
	}
	const post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
	for _, c := range []struct {
		name    string
		backend func(net.Conn, *bufio.Reader)
		want    string
	}{
		{"no answer", says(""), "the server closed the connection without an answer"},
		{"reset", reset(""), "the server closed the connection without an answer"},
		{"half a head", says("HTTP/1.1 200 OK\r\nX"), "the server closed the connection in the midst of its answer's head"},
		{"not HTTP", says("SSH-2.0-x\r\n\r\n"), `the server's answer cannot be forwarded: it begins with "SSH-2.0-x", which is not HTTP/1`},
		{"two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), "the server's answer cannot be forwarded: its head does not say clearly where its body ends"},
		{"protocol unasked", says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "the server's answer cannot be forwarded: it switches protocols, for which the client did not ask"},
		{"bad field", says("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), `the server's answer cannot be forwarded: its head has the line "no colon"`},
		{"only 103", says("HTTP/1.1 103 Early Hints\r\n\r\n"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, forward.Options{})
			p.Switch(script(t, c.backend))
			client := dial(t, p.addr)
			client.send(post)
			got, err := client.rest()
			if err != nil || !strings.Contains(got, "HTTP/1.1 502 Bad Gateway\r\n") || !strings.Contains(got, "devloop: "+c.want) {
				t.Errorf("got %q, %v, want 502 and %q", got, err, c.want)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		p := start(t, forward.Options{Refused: 50 * time.Millisecond})
		p.Switch(forward.NewBackend(freeAddr(t)))
		if got := get(p.addr, "/"); !strings.HasPrefix(got, "502 devloop: the server cannot be reached: ") || !strings.Contains(got, "connection refused") {
			t.Errorf("get = %q, want 502 and a reason", got)
		}
	})
	t.Run("reset in an endless answer", func(t *testing.T) {
		p := start(t, forward.Options{})
		p.Switch(script(t, reset("HTTP/1.1 200 OK\r\n\r\nhello")))
		client := dial(t, p.addr)
		client.send(post)
		if got, err := client.rest(); err == nil {
			t.Errorf("got %q and a proper end, want an error", got)
		}
	})
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRefusedUntilReplaced holds requests while a process that ended has not
// been replaced yet.
func TestRefusedUntilReplaced(t *testing.T) {
	p := start(t, forward.Options{Refused: time.Minute})
	b, server := p.serve(text("old"))
	get(p.addr, "/")
	server.Close()
	got := make(chan string, 1)
	go func() { got <- get(p.addr, "/") }()
	testkit.Eventually(t, "the request", func() bool { return b.Load().Requests == 1 })
	p.serve(text("new"))
	if g := testkit.Within(t, "the answer", got); g != "200 new" {
		t.Errorf("get = %q, want 200 new", g)
	}
}

// TestBackendClosesIdleConnections at its own time, and nothing is lost: a
// request that can be sent again is, and any other never goes on a connection
// that may be closing.
func TestBackendClosesIdleConnections(t *testing.T) {
	for _, limit := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(limit.String(), func(t *testing.T) {
			p := start(t, forward.Options{})
			server := &http.Server{Handler: http.HandlerFunc(echo), IdleTimeout: limit, ErrorLog: quiet()}
			p.Switch(run(t, server))
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range 60 {
				if limit > 100*time.Millisecond && i == 8 {
					break
				}
				methods := []string{http.MethodGet, http.MethodPut}
				if limit > 250*time.Millisecond { // else one that cannot be sent twice may cross the closing
					methods = append(methods, http.MethodPost, http.MethodPatch)
				}
				method := methods[i%len(methods)]
				req, err := http.NewRequest(method, "http://"+p.addr, io.NopCloser(strings.NewReader("x")))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = 1
				resp, err := client.Do(req)
				if err != nil {
					t.Fatalf("%s number %d: %v", method, i, err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || string(body) != "x" {
					t.Errorf("%s number %d = %s %q, want 200 and x", method, i, resp.Status, body)
				}
				time.Sleep(limit + limit/10*time.Duration(i%5-2)) // what is tested is a race with this time
			}
		})
	}
}

// TestRetry sends a request again only if that can do no harm.
func TestRetry(t *testing.T) {
	for _, c := range []struct {
		method string
		want   string
	}{
		{"GET", "200"}, {"PUT", "200"}, {"DELETE", "200"}, {"POST", "502"}, {"PATCH", "502"},
	} {
		t.Run(c.method, func(t *testing.T) {
			p := start(t, forward.Options{})
			var conns atomic.Int64
			p.Switch(script(t, func(b net.Conn, r *bufio.Reader) {
				first := conns.Add(1) == 1
				for i := 0; ; i++ {
					if _, err := readHead(r); err != nil || first && i == 1 {
						return // as if it had closed the idle connection just then
					}
					io.WriteString(b, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}))
			client := dial(t, p.addr)
			began := time.Now()
			for i, want := range []string{"200", c.want} {
				client.send(c.method + " / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
				h := client.head()
				if i == 1 && conns.Load() == 2 && time.Since(began) > 200*time.Millisecond {
					want = "200" // the connection had been idle for too long to be used
				}
				if !strings.HasPrefix(h, "HTTP/1.1 "+want) {
					t.Errorf("%s = %q, want %s", c.method, h, want)
				}
			}
		})
	}
}

// TestClose cuts what a backend has in flight, and lets later requests wait.
func TestClose(t *testing.T) {
	p := start(t, forward.Options{})
	began := make(chan bool)
	b, _ := p.serve(func(_ http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
	})
	got := make(chan string, 1)
	go func() { got <- get(p.addr, "/") }()
	testkit.Within(t, "the request", began)
	b.Close()
	if g := testkit.Within(t, "an answer", got); !strings.HasPrefix(g, "502 devloop: ") {
		t.Errorf("cut request = %q, want 502 and a reason", g)
	}
	go func() { got <- get(p.addr, "/") }()
	p.serve(text("new"))
	if g := testkit.Within(t, "an answer", got); g != "200 new" {
		t.Errorf("next request = %q, want 200 new", g)
	}
	testkit.Within(t, "the closed backend to be idle", b.Idle())
}

// TestEnd finishes what is in flight, refuses what waits, and gives idle
// connections a moment for a request on its way.
func TestEnd(t *testing.T) {
	p := start(t, forward.Options{})
	began, finish := make(chan bool), make(chan bool)
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			began <- true
			<-finish
		}
		io.WriteString(w, "done")
	})
	idle := dial(t, p.addr)
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.head()
	idle.expect("done")
	waiting := dial(t, p.addr)
	waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	waiting.head()
	waiting.expect("done")
	slow := make(chan string, 1)
	go func() { slow <- get(p.addr, "/slow") }()
	testkit.Within(t, "the slow request", began)
	p.Switch(nil)
	waits := make(chan string, 1)
	go func() { waits <- get(p.addr, "/") }()         // refused, or not even accepted
	waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // no matter if it is not waiting yet
	served := p.stop()
	if h := waiting.head(); !strings.HasPrefix(h, "HTTP/1.1 503 ") {
		t.Errorf("the waiting request got %q, want 503", h)
	}
	testkit.Within(t, "the other waiting request", waits)
	if rest, err := idle.rest(); rest != "" || err != nil {
		t.Errorf("the idle connection got %q, %v, want the end", rest, err)
	}
	select {
	case err := <-served:
		t.Errorf("Serve returned %v while a request was in flight", err)
	default:
	}
	finish <- true
	if got := testkit.Within(t, "the slow answer", slow); got != "200 done" {
		t.Errorf("slow = %q, want 200 done", got)
	}
	if err := testkit.Within(t, "Serve to return", served); err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
}

// TestClientAddress keeps the address of a client on this machine: the backend
// sees what it would see without a proxy.
func TestClientAddress(t *testing.T) {
	p := startOn(t, ":0", forward.Options{})
	whoami := func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host)
	}
	p.serve(whoami)
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Server{Handler: http.HandlerFunc(whoami)}
	go plain.Serve(l)
	defer plain.Close()
	clients := []string{"127.0.0.1", "127.0.0.7"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			clients = append(clients, n.IP.String())
		}
	}
	for _, from := range clients {
		for _, to := range clients {
			want, err := getFrom(from, to, l.Addr().String())
			if err != nil {
				continue // not every system has all of 127/8, or a way from one to the other
			}
			if got, err := getFrom(from, to, p.addr); got != want || err != nil {
				t.Errorf("from %s by %s, the backend sees %q (%v), want %q", from, to, got, err, want)
			}
		}
	}
}

// getFrom asks from an address, by an address, at the port of a third.
func getFrom(from, to, addr string) (string, error) {
	_, port, _ := net.SplitHostPort(addr)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: d.DialContext}
	resp, err := (&http.Client{Transport: transport}).Get("http://" + net.JoinHostPort(to, port))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// TestNothingIsLeft of many connections.
func TestNothingIsLeft(t *testing.T) {
	p := start(t, forward.Options{})
	b, server := p.serve(echo)
	get(p.addr, "/")
	before := len(testkit.FDs(t))
	for range 50 {
		client := dial(t, p.addr)
		client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		client.head()
		client.Close()
		get(p.addr, "/")
	}
	p.Switch(nil)
	testkit.Within(t, "the backend to be idle", b.Idle())
	server.Close()
	testkit.Eventually(t, "as many descriptors as before", func() bool { return len(testkit.FDs(t)) <= before })
}
