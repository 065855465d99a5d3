package a2a

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/workspace"
)

// serverWriteTimeout is shorter than some agents take.
const serverWriteTimeout = 30 * time.Millisecond

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func TestMessageIsPassedOn(t *testing.T) {
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	body := "\x00\xff {\"jsonrpc\": \"2.0\"}\r\n" + strings.Repeat("x", 1<<20)
	var got *http.Request
	var gotBody string
	a := newAgent(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, gotBody = r.Clone(t.Context()), string(text)
		h := w.Header()
		h.Set("Content-Type", "application/vnd.example+json; v=2")
		h.Set("A2A-Version", "1.0")
		h.Add("A2A-Extensions", "one")
		h.Add("A2A-Extensions", "two")
		h.Set("Set-Cookie", "a=b")
		h.Set("Location", "http://127.0.0.1/")
		h.Set("WWW-Authenticate", "Basic")
		h.Set("Cache-Control", "public")
		h.Set("Server", "agent")
		h.Set("X-Request-Id", "agent's")
		h.Set("Access-Control-Allow-Origin", "*")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "\x00answer\xff")
	})
	p := newPlatform(t, Target{Address: a.address})
	resp, answer := p.send(
		body,
		"Content-Type: application/a2a+json", "Accept: text/event-stream, application/json", "A2A-Version: 0.3", "A2A-Extensions: x", "A2A-Extensions: y",
		"Traceparent: 00-"+traceID+"-00f067aa0ba902b7-01", "Tracestate: a=b", "A2A-Hop: z", "Connection: A2A-Hop, keep-alive",
		"Authorization: Bearer wst_secret", "Cookie: a=b", "Proxy-Authorization: x", "X-Forwarded-For: 1.1.1.1", "Forwarded: for=x",
		"Idempotency-Key: k", "X-Idempotency-Key: k", "Te: trailers", "Upgrade: websocket", "Keep-Alive: 1", "Expect: 100-continue",
		"X-Request-Id: client's", "Accept-Encoding: gzip", "User-Agent: client", "Host: example.com", "Referer: http://x",
	)
	if got.Method != http.MethodPost || got.URL.String() != "/" || got.Host != a.address || gotBody != body || got.ContentLength != int64(len(body)) {
		t.Errorf("the agent got %s %s, Host %q, and %d bytes, want a POST of / with the %d bytes as they are", got.Method, got.URL, got.Host, len(gotBody), len(body))
	}
	if parent := got.Header.Get("Traceparent"); !strings.HasPrefix(parent, "00-"+traceID+"-") || strings.Contains(parent, "00f067aa0ba902b7") {
		t.Errorf("the agent got the traceparent %q, want another part of the trace %s", parent, traceID)
	}
	got.Header.Del("Traceparent")
	wantHeaders(t, "the agent", got.Header, http.Header{
		"A2a-Version": {"0.3"}, "A2a-Extensions": {"x", "y"},
		"Content-Type": {"application/a2a+json"}, "Accept": {"text/event-stream, application/json"},
		"Tracestate": {"a=b"}, "X-Request-Id": {"the-id"},
		"User-Agent": {"workspace-server"}, "Accept-Encoding": {"identity"},
		"Connection": {"close"}, "Content-Length": {fmt.Sprint(len(body))},
	})
	if resp.StatusCode != http.StatusAccepted || answer != "\x00answer\xff" {
		t.Errorf("the answer = %d %q, want it as the agent sent it", resp.StatusCode, answer)
	}
	resp.Header.Del("Date")
	wantHeaders(t, "the client", resp.Header, http.Header{
		"A2a-Version": {"1.0"}, "A2a-Extensions": {"one", "two"}, "Content-Type": {"application/vnd.example+json; v=2"},
		"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"the-id"},
		"Content-Length": {"8"},
	})
}

func wantHeaders(t *testing.T, who string, got, want http.Header) {
	t.Helper()
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%s got the headers\n%s\nwant\n%s", who, mustJSON(t, got), mustJSON(t, want))
	}
}

func TestURLOfAgent(t *testing.T) {
	var got string
	a := newAgent(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.String()
		w.WriteHeader(http.StatusNoContent)
	})
	for _, path := range []string{"", "/", "/a/b?c=d", "/a%2Fb/"} {
		p := newPlatform(t, Target{URL: "http://" + a.address + path}, loopback)
		resp, body := p.send("{}")
		want := path
		if path == "" {
			want = "/"
		}
		if got != want || resp.StatusCode != http.StatusNoContent || body != "" {
			t.Errorf("a message to the path %q arrives at %q and is answered with %d %q, want the same path and 204", path, got, resp.StatusCode, body)
		}
	}
}

// Any other answer of an agent is passed on.
func TestStatusIsPassedOn(t *testing.T) {
	for _, status := range []int{200, 201, 204, 400, 401, 404, 409, 429, 500, 503, 599} {
		a := newAgent(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		p := newPlatform(t, Target{Address: a.address})
		if resp, _ := p.send("{}"); resp.StatusCode != status || p.lastError() != nil {
			t.Errorf("an agent's %d is passed on as %d (%v)", status, resp.StatusCode, p.lastError())
		}
	}
}

// No browser may guess the type of an answer without one. Headers for the connection
// only are not passed on.
func TestBareAnswer(t *testing.T) {
	a := rawAgent(t, reply("HTTP/1.1 200 OK\r\nConnection: a2a-hop\r\nA2A-Hop: x\r\nKeep-Alive: 1\r\nContent-Length: 6\r\n\r\n<html>"))
	resp, _ := newPlatform(t, Target{Address: a.address}).send("{}")
	resp.Header.Del("Date")
	wantHeaders(t, "the client", resp.Header, http.Header{
		"Content-Type": {"application/octet-stream"}, "Content-Length": {"6"},
		"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"the-id"},
	})
}

// reply reads a request and answers it with a text.
func reply(text string) func(net.Conn) {
	return func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, text)
		}
	}
}

// Each of these agents gets the message exactly once.
func TestUnusableAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle func(net.Conn)
		want   string
	}{
		{"closes at once", func(net.Conn) {}, "ended without an answer. It may have got the message"},
		{"closes after the message", reply(""), "ended without an answer. It may have got the message"},
		{"does not speak HTTP", reply("220 smtp ready\r\n"), "ended without an answer"},
		{"ends within the header", reply("HTTP/1.1 200 OK\r\nA: b"), "ended without an answer"},
		{"sends a large header", reply("HTTP/1.1 200 OK\r\nA2A-X: " + strings.Repeat("x", maxAnswerHeader+8<<10) + "\r\n\r\n"), "ended without an answer"},
		{"switches protocols", reply("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "the status 101"},
		{"has a status below 100", reply("HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"), "the status 99"},
		{"has a status above 599", reply("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"), "the status 999"},
		{"compresses", reply("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"), `the Content-Encoding "gzip"`},
	} {
		a := rawAgent(t, tt.handle)
		p := newPlatform(t, Target{Address: a.address})
		p.wantRefused("a message to an agent that "+tt.name, workspace.BadGateway, tt.want)
		if got := a.calls.Load(); got != 1 {
			t.Errorf("an agent that %s was called %d times, want once", tt.name, got)
		}
	}
}

// An answer that is not whole does not look whole.
func TestBrokenAnswers(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
	} {
		a := rawAgent(t, reply(text))
		p := newPlatform(t, Target{Address: a.address})
		resp, err := p.post(t.Context(), "{}")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		<-p.done
		if failed := p.lastError(); err == nil || workspace.KindOf(failed) != workspace.BadGateway {
			t.Errorf("the client of the answer %q sees %v and Deliver = %v, want errors", text, err, failed)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, to := range []Target{{Address: nobody}, {URL: "http://" + nobody}, {URL: "https://" + nobody}} {
		newPlatform(t, to, loopback).wantRefused(fmt.Sprintf("a message to %+v", to), workspace.Unavailable, "It got nothing; try again")
	}
	newPlatform(t, Target{}).wantRefused("a message to nowhere", workspace.Unavailable, "no address yet")
	for _, address := range []string{"no port", "127.0.0.1", ":::", "a b:1"} {
		resp, got := newPlatform(t, Target{Address: address}).send("{}")
		if resp.StatusCode != http.StatusTeapot || strings.Contains(got, address) {
			t.Errorf("a message to the address %q = %d %s, want an error that does not tell it", address, resp.StatusCode, got)
		}
	}

	// A name for which no DNS server answers.
	p := newPlatform(t, Target{URL: "http://silent.test"})
	p.dialer.Resolver = (&names{answers: map[string][][]string{"silent.test": nil}}).resolver(t)
	p.dialer.Timeout = 20 * time.Millisecond
	p.wantRefused("a message to a name without an answer", workspace.Unavailable, "It got nothing")
}
