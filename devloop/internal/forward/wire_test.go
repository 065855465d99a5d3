package forward_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"devloop/internal/forward"
	"devloop/internal/testkit"
)

// TestRequestOnTheWire compares what a client sends with what the backend gets.
func TestRequestOnTheWire(t *testing.T) {
	const h = " HTTP/1.1\r\nHost: h\r\n"
	for _, c := range []struct{ name, sent, want string }{
		{"as it is", "GET /a%2Fb?x=1;y&z" + h + "user-agent: A\r\nX: 1\r\nX: 2\r\nAccept-Encoding: br\r\n\r\n", ""},
		{"no user agent", "GET /" + h + "\r\n", ""},
		{"another Host", "GET / HTTP/1.1\r\nHost: example.com:99\r\n\r\n", ""},
		{"forwarded before", "GET /" + h + "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nVia: 1.1 x\r\n\r\n", ""},
		{"absolute", "GET http://example.com/a" + h + "\r\n", ""},
		{"proxy authorization", "GET /" + h + "Proxy-Authorization: Basic x\r\n\r\n", ""},
		{"star", "OPTIONS *" + h + "\r\n", ""},
		{"own method", "PURGE /" + h + "\r\n", ""},
		{"not ASCII", "GET /ä" + h + "X: ü\r\n\r\n", ""},
		{"empty value", "GET /" + h + "X:\r\n\r\n", ""},
		{"body", "POST /" + h + "Content-Length: 5\r\n\r\nhello", ""},
		{"chunked body", "POST /" + h + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ""},
		{"chunks in other spellings", "POST /" + h + "transfer-encoding: Chunked\r\n\r\n00A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n", ""},
		{"trailers", "POST /" + h + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1\r\na\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", ""},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", ""},
		{"HTTP/1.0 kept", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ""},
		{"close", "GET /" + h + "Connection: close\r\n\r\n", ""},
		{"keep-alive", "GET /" + h + "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\r\n", "GET /" + h + "\r\n"},
		{
			"named fields", "GET /" + h + "Connection: X-Hop, x-other\r\nX-Hop: 1\r\nx-OTHER: 2\r\nX-Stays: 3\r\n\r\n",
			"GET /" + h + "X-Stays: 3\r\n\r\n",
		},
		{
			"framing is never dropped", "POST /" + h + "Connection: Content-Length, Host\r\nContent-Length: 2\r\n\r\nhi",
			"POST /" + h + "Content-Length: 2\r\n\r\nhi",
		},
		{"TE", "GET /" + h + "TE: gzip, trailers\r\nConnection: TE\r\n\r\n", "GET /" + h + "TE: trailers\r\nConnection: TE\r\n\r\n"},
		{"TE gzip", "GET /" + h + "TE: gzip\r\nConnection: TE\r\n\r\n", "GET /" + h + "\r\n"},
		{"upgrade", "GET /" + h + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", ""},
		{
			"upgrade of a browser", "GET /" + h + "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"GET /" + h + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		},
		{"upgrade unannounced", "GET /" + h + "Upgrade: websocket\r\n\r\n", "GET /" + h + "\r\n"},
		{"LF", "GET / HTTP/1.1\nHost: h\nX: 1\n\n", "GET /" + h + "X: 1\r\n\r\n"},
		{"large head", "GET /" + h + "X: " + strings.Repeat("x", 100_000) + "\r\n\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, forward.Options{})
			want := c.want
			if want == "" {
				want = c.sent
			}
			got := make(chan string, 1)
			p.Switch(script(t, func(b net.Conn, r *bufio.Reader) {
				all := make([]byte, len(want))
				n, _ := io.ReadFull(r, all)
				io.WriteString(b, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
				rest, _ := io.ReadAll(r)
				got <- string(all[:n]) + string(rest)
			}))
			client := dial(t, p.addr)
			client.send(c.sent)
			client.head()
			client.Close()
			if got := testkit.Within(t, "the request", got); got != want {
				t.Errorf("send(%q)\n   got %q\n  want %q", c.sent, got, want)
			}
		})
	}
}

// TestResponseOnTheWire compares what a backend sends with what the client gets.
func TestResponseOnTheWire(t *testing.T) {
	const (
		get   = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
		ended = "\x00" // the connection ends here
	)
	for _, c := range []struct{ name, request, sent, want string }{
		{"as it is", get, "HTTP/1.1 200 OK\r\nserver: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi", ""},
		{"own reason", get, "HTTP/1.1 299 Fine, äh\r\nContent-Length: 0\r\n\r\n", ""},
		{"no reason", get, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ""},
		{"chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", ""},
		{"trailers", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", ""},
		{"no body", get, "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"not modified", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", ""},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ""},
		{"informational", get, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", ""},
		{
			"keep-alive", get, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"the backend closes", get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"until the end", get, "HTTP/1.1 200 OK\r\n\r\nhello" + ended,
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello" + ended,
		},
		{
			"HTTP/1.0", get, "HTTP/1.0 200 OK\r\n\r\nhello" + ended,
			"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello" + ended,
		},
		{
			"client closes", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" + ended,
		},
		{
			"HTTP/1.0 client", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
		},
		{
			"length and coding", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		},
		{
			"upgrade wanted", get, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\r\n",
		},
		{"LF", get, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"cut in the body", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell" + ended, ""},
		{"cut in a chunk", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel" + ended, ""},
		{"cut between chunks", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + ended, ""},
		{
			"cut before the last line", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + ended, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, forward.Options{})
			release := make(chan bool)
			sent, ends := strings.CutSuffix(c.sent, ended)
			p.Switch(script(t, func(b net.Conn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(b, sent)
				if !ends {
					<-release
				}
			}))
			defer close(release)
			want := c.want
			if want == "" {
				want = c.sent
			}
			client := dial(t, p.addr)
			client.send(c.request)
			want, over := strings.CutSuffix(want, ended)
			client.expect(want)
			if over {
				if rest, err := client.rest(); rest != "" || err != nil {
					t.Errorf("after the answer: %q, %v, want the end", rest, err)
				}
			}
		})
	}
}

// TestRefusedRequests get net/http's answer, or ours if net/http would accept
// what others read differently. The backend sees nothing of them.
func TestRefusedRequests(t *testing.T) {
	const (
		twoWays = "400 Bad Request|can be read in two ways"
		bad     = "400 Bad Request|400 Bad Request"
	)
	for _, c := range []struct{ name, sent, want string }{
		{"no Host", "GET / HTTP/1.1\r\n\r\n", bad + ": missing required Host header"},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", bad},
		{"malformed line", "GET /\r\n\r\n", bad},
		{"space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", bad},
		{"space before the colon", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello", bad},
		{"no name", "GET / HTTP/1.1\r\nHost: h\r\n: 5\r\n\r\n", bad},
		{"NUL", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", bad},
		{"CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rContent-Length: 5\r\n\r\n", bad},
		{"folded line", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", twoWays},
		{"two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", bad},
		{"signed length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", bad},
		{"list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello", bad},
		{"empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nhello", bad},
		{"length and coding", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", twoWays},
		{"two codings", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented|Unsupported transfer encoding"},
		{"other coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented|Unsupported transfer encoding"},
		{"coding in disguise", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", bad},
		{"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", twoWays},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", twoWays},
		{"HTTP/3.0", "GET / HTTP/3.0\r\nHost: h\r\n\r\n", "505 HTTP Version Not Supported|unsupported protocol version"},
		{"empty line first", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", bad},
		{"endless head", "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 1<<20) + "\r\nY: " + strings.Repeat("y", 10_000) + "\r\n\r\n", "431 Request Header Fields Too Large|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, forward.Options{})
			p.Switch(script(t, func(_ net.Conn, r *bufio.Reader) {
				if line, err := r.ReadString('\n'); err == nil {
					t.Errorf("the backend got %q", line)
				}
			}))
			client := dial(t, p.addr)
			go io.WriteString(client, c.sent)
			got, _ := client.rest()
			line, text, _ := strings.Cut(c.want, "|")
			if _, status, _ := strings.Cut(got, " "); !strings.HasPrefix(status, line) || !strings.Contains(got, text) {
				t.Errorf("send(%.200q)\n   got %q\n  want %q and %q", c.sent, got, line, text)
			}
		})
	}
}

// TestMalformedChunks ends a body that cannot be read in one way only, and
// passes none of the malformed part on.
func TestMalformedChunks(t *testing.T) {
	for _, body := range []string{
		"5\nhello\r\n0\r\n\r\n",
		"5\r\nhello0\r\n\r\n",
		"5\r\nhello\n0\r\n\r\n",
		"-5\r\nhello\r\n0\r\n\r\n",
		"0x5\r\nhello\r\n0\r\n\r\n",
		"\r\n0\r\n\r\n",
		"5;a\nb\r\nhello\r\n0\r\n\r\n",
		"0\r\nX: 1\n\r\n",
		"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
	} {
		t.Run(body, func(t *testing.T) {
			p := start(t, forward.Options{})
			got := make(chan string, 1)
			p.Switch(script(t, func(_ net.Conn, r *bufio.Reader) {
				readHead(r)
				all, _ := io.ReadAll(r)
				got <- string(all)
			}))
			client := dial(t, p.addr)
			client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
			passed := testkit.Within(t, "the end of the body", got)
			if len(passed) >= len(body) || !strings.HasPrefix(body, passed) {
				t.Errorf("of %q the backend got %q, want less", body, passed)
			}
			if answer, _ := client.rest(); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
				t.Errorf("the client got %q, want the end or 400", answer)
			}
		})
	}
}

// TestPipelinedRequests are answered in order.
func TestPipelinedRequests(t *testing.T) {
	p := start(t, forward.Options{})
	p.serve(echo)
	client := dial(t, p.addr)
	client.send(strings.Repeat("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na"+
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n", 500))
	for range 500 {
		for _, want := range []string{"a", "b"} {
			if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
				t.Fatalf("head = %q, want 200", head)
			}
			client.expect(want)
		}
	}
}
