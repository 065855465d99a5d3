package forward_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/forward"
	"devloop/internal/testkit"
)

func unencrypted(http1 bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(true)
	return &p
}

// http2Backend runs a server that speaks HTTP/1.1 and, with prior knowledge, HTTP/2.
func http2Backend(t *testing.T, h http.HandlerFunc) (*forward.Backend, *http.Server) {
	t.Helper()
	server := &http.Server{Handler: h, Protocols: unencrypted(true), ErrorLog: quiet()}
	return run(t, server), server
}

func http2Client(t *testing.T) *http.Client {
	transport := &http.Transport{Protocols: unencrypted(false)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// TestHTTP2 carries requests as they are, trailers both ways included.
func TestHTTP2(t *testing.T) {
	p := start(t, forward.Options{})
	b, _ := http2Backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "Grpc-Status")
		w.Header()["Date"] = nil
		fmt.Fprintf(w, "%s %s %s %s %q", r.Proto, r.Method, r.Host, r.RequestURI, body)
		var names []string
		for name := range r.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(w, " %s %s", names, r.Trailer.Get("X"))
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Late", "1")
	})
	p.Switch(b)
	req, err := http.NewRequest(http.MethodPost, "http://"+p.addr+"/a%2Fb?x=1;y", io.NopCloser(strings.NewReader("hello")))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "example.com"
	req.Header = http.Header{
		"User-Agent": nil, "Content-Type": {"application/grpc"}, "Te": {"trailers"}, "X-Forwarded-For": {"1.2.3.4"},
		"Accept-Encoding": {"br"},
	}
	req.Trailer = http.Header{"X": {"sent"}}
	resp, err := http2Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	want := `HTTP/2.0 POST example.com /a%2Fb?x=1;y "hello" [Accept-Encoding Content-Type Te X-Forwarded-For] sent`
	if string(body) != want || err != nil {
		t.Errorf("the backend saw\n  %s (%v), want\n  %s", body, err, want)
	}
	if date, ok := resp.Header["Date"]; ok {
		t.Errorf("Date = %q was added", date)
	}
	if got := resp.Trailer.Get("Grpc-Status") + resp.Trailer.Get("Late"); got != "01" {
		t.Errorf("trailers = %v, want both", resp.Trailer)
	}
	if got := get(p.addr, "/"); !strings.HasPrefix(got, "200 HTTP/1.1 GET ") {
		t.Errorf("get by HTTP/1.1 = %q, want 200", got)
	}
}

// TestHTTP2Streams moves messages in both directions at once.
func TestHTTP2Streams(t *testing.T) {
	p := start(t, forward.Options{})
	b, _ := http2Backend(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		b := make([]byte, 1)
		for {
			if _, err := r.Body.Read(b); err != nil {
				return
			}
			w.Write(bytes.ToUpper(b))
			http.NewResponseController(w).Flush()
		}
	})
	p.Switch(b)
	r, w := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, "http://"+p.addr, r)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http2Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, 1)
	for range 20 {
		io.WriteString(w, "a")
		if _, err := io.ReadFull(resp.Body, got); err != nil || got[0] != 'A' {
			t.Fatalf("read %q, %v, want A", got, err)
		}
	}
	next, _ := http2Backend(t, text("new"))
	p.Switch(next)
	io.WriteString(w, "b")
	if _, err := io.ReadFull(resp.Body, got); err != nil || got[0] != 'B' {
		t.Fatalf("after the swap: read %q, %v, want B", got, err)
	}
	w.Close()
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("then %q, %v, want the end", rest, err)
	}
	testkit.Within(t, "the old backend to be idle", b.Idle())
}

// TestNoHTTP2 says that the server does not speak it.
func TestNoHTTP2(t *testing.T) {
	p := start(t, forward.Options{})
	p.serve(text("HTTP/1.1 only"))
	const want = "the client speaks HTTP/2 without TLS (h2c), and the server does not"
	resp, err := http2Client(t).Get("http://" + p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 502 || !strings.Contains(string(body), want) {
		t.Errorf("get = %s %q, want 502 and %q", resp.Status, body, want)
	}
	resp, err = http2Client(t).Post("http://"+p.addr, "application/grpc", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if m := resp.Header.Get("Grpc-Message"); resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != "14" || !strings.Contains(m, want) {
		t.Errorf("gRPC call = %s %v, want status 14 and %q", resp.Status, resp.Header, want)
	}
}

// TestHTTP2SwitchUnderLoad loses nothing.
func TestHTTP2SwitchUnderLoad(t *testing.T) {
	p := start(t, forward.Options{})
	old, server := http2Backend(t, echo)
	p.Switch(old)
	stop := make(chan bool)
	var clients, ends sync.WaitGroup
	for range 4 {
		client := http2Client(t)
		for range 4 {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					resp, err := client.Post("http://"+p.addr, "text/plain", io.NopCloser(strings.NewReader("hello")))
					if err != nil {
						t.Errorf("lost: %v", err)
						return
					}
					if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
						t.Errorf("lost: %s %q %v", resp.Status, body, err)
					}
					resp.Body.Close()
				}
			})
		}
	}
	for i := range 30 {
		time.Sleep(20 * time.Millisecond) // some requests
		if i%5 == 4 {
			p.Switch(nil)
			<-old.Idle()
			server.Close()
		}
		b, s := http2Backend(t, echo)
		p.Switch(b)
		o, gone := old, server
		ends.Go(func() {
			<-o.Idle()
			gone.Close()
		})
		old, server = b, s
	}
	close(stop)
	clients.Wait()
	ends.Wait()
}
