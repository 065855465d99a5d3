package a2a

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	"workspace-server/internal/workspace"
)

const (
	notRegistered = "registered a URL that cannot be used"
	notCalled     = "leads to an address that the server does not call"
)

// TestForbiddenURLs tries URLs of every shape that lead to a server on this machine,
// which must not get a byte.
func TestForbiddenURLs(t *testing.T) {
	victim := newAgent(t, echo)
	for _, tt := range []struct{ url, want string }{
		// PORT is the victim's.
		{"http://127.0.0.1:PORT/", notCalled},
		{"https://127.0.0.1:PORT/", notCalled},
		{"http://localhost:PORT/", notCalled},
		{"http://LOCALHOST:PORT/", notCalled},
		{"http://127.255.255.254:PORT/", notCalled},
		{"http://0.0.0.0:PORT/", notCalled},
		{"http://[::]:PORT/", notCalled},
		{"http://[::1]:PORT/", notCalled},
		{"http://[0:0:0:0:0:0:0:1]:PORT/", notCalled},
		{"http://[::ffff:127.0.0.1]:PORT/", notCalled},
		{"http://[::ffff:7f00:1]:PORT/", notCalled},
		{"http://[::127.0.0.1]:PORT/", notCalled},
		{"http://[64:ff9b::7f00:1]:PORT/", notCalled},
		{"http://[64:ff9b:1::7f00:1]:PORT/", notCalled},
		{"http://[2002:7f00:1::]:PORT/", notCalled},
		{"http://[2001:0:7f00:1::]:PORT/", notCalled},
		{"http://10.0.0.1:PORT/", notCalled},
		{"http://192.168.0.1/", notCalled},
		{"http://100.64.0.1/", notCalled},
		{"http://198.18.0.1/", notCalled},
		{"http://203.0.113.1/", notCalled},
		{"http://224.0.0.1/", notCalled},
		{"http://255.255.255.255/", notCalled},
		{"http://[fd00::1]/", notCalled},
		{"http://[fe80::1]/", notCalled},
		{"http://[ff02::1]/", notCalled},
		{"http://169.254.169.254/latest/meta-data/iam/security-credentials/", notCalled},
		{"http://[::ffff:a9fe:a9fe]/latest/meta-data/", notCalled},
		{"http://[fd00:ec2::254]/latest/meta-data/", notCalled},

		{"http://2130706433:PORT/", notRegistered},
		{"http://017700000001:PORT/", notRegistered},
		{"http://0177.0.0.1:PORT/", notRegistered},
		{"http://0x7f.0.0.1:PORT/", notRegistered},
		{"http://0x7f000001:PORT/", notRegistered},
		{"http://127.1:PORT/", notRegistered},
		{"http://0:PORT/", notRegistered},
		{"http://127.0.0.1.:PORT/", notRegistered},
		{"http://localhost.:PORT/", notRegistered},
		{"http://127.0.0.1:0/", notRegistered},
		{"http://127.0.0.1:00PORT/", notRegistered},
		{"http://example.com@127.0.0.1:PORT/", notRegistered},
		{"http://example.com:80@127.0.0.1:PORT/", notRegistered},
		{"http://127.0.0.1:PORT#@example.com/", notRegistered},
		{`http://127.0.0.1:PORT\@example.com/`, notRegistered},
		{"http://127.0.0.1:PORT\t/", notRegistered},
		{"http://127.0.0.1:PORT/\r\nX-Injected: 1", notRegistered},
		{"http://[fe80::1%25lo]:PORT/", notRegistered},
		{"http://１２７.0.0.1:PORT/", notRegistered},
		{"http://127。0。0。1:PORT/", notRegistered},
		{"http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/", notRegistered},
		{"http://loc%61lhost:PORT/", notRegistered},
		{"//127.0.0.1:PORT/", notRegistered},
		{"127.0.0.1:PORT", notRegistered},
		{"http:127.0.0.1:PORT", notRegistered},
		{"unix:///var/run/docker.sock", notRegistered},
		{"http+unix://%2Fvar%2Frun%2Fdocker.sock/", notRegistered},
		{"file:///etc/passwd", notRegistered},
		{"gopher://127.0.0.1:PORT/_POST", notRegistered},
		{"ftp://127.0.0.1:PORT/", notRegistered},
	} {
		url := strings.ReplaceAll(tt.url, "PORT", victim.port())
		newPlatform(t, Target{URL: url}).wantRefused(fmt.Sprintf("a message to %q", url), workspace.BadGateway, tt.want)
	}
	if got := victim.calls.Load(); got != 0 {
		t.Errorf("the server that must not be called got %d calls", got)
	}

	// The same server is called once its network is allowed, so the above was
	// not for want of one.
	p := newPlatform(t, Target{URL: "http://127.0.0.1:" + victim.port() + "/"}, loopback)
	if resp, got := p.send(`{"a":1}`); resp.StatusCode != 200 || got != `{"a":1}` || victim.calls.Load() != 1 {
		t.Errorf("a message to an allowed network = %d %q after %d calls, want it back after 1", resp.StatusCode, got, victim.calls.Load())
	}
	// An address that a provisioner gave is called without that.
	p = newPlatform(t, Target{Address: victim.address})
	if resp, got := p.send(`{"a":2}`); resp.StatusCode != 200 || got != `{"a":2}` {
		t.Errorf("a message to an address of a provisioner = %d %q, want it back", resp.StatusCode, got)
	}
}

// The platform follows no redirect, and passes none on to a client that might.
func TestRedirects(t *testing.T) {
	victim := newAgent(t, echo)
	for _, location := range []string{"http://169.254.169.254/latest/meta-data/", "http://" + victim.address + "/", "/", "//" + victim.address, ""} {
		for status := 300; status < 310; status++ {
			a := newAgent(t, func(w http.ResponseWriter, _ *http.Request) {
				if location != "" {
					w.Header().Set("Location", location)
				}
				w.WriteHeader(status)
			})
			for _, to := range []Target{{Address: a.address}, {URL: "http://" + a.address}} {
				p := newPlatform(t, to, loopback)
				p.wantRefused(fmt.Sprintf("a message that is answered with %d to %q", status, location), workspace.BadGateway, fmt.Sprintf("the redirect %d", status))
			}
			if got := a.calls.Load(); got != 2 {
				t.Errorf("the agent got %d calls of 2 messages, want 2", got)
			}
		}
	}
	if got := victim.calls.Load(); got != 0 {
		t.Errorf("the redirects' target got %d calls", got)
	}
}

// names is a DNS server that answers each question about a name with the next of its
// answers, and finally always with the last.
type names struct {
	mu      sync.Mutex
	answers map[string][][]string // IPv4 addresses
	asked   map[string]int
}

func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.asked = map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := n.answer(buf[:size]); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	})
	var mu sync.Mutex
	var asking []net.Conn
	t.Cleanup(func() {
		_ = pc.Close()
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range asking { // a look-up outlasts its dial by five seconds
			_ = conn.Close()
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			asking = append(asking, conn)
		}
		return conn, err
	}}
}

// answer returns the answer to a question (RFC 1035, section 4), or nil for none.
func (n *names) answer(question []byte) []byte {
	if len(question) < 12 {
		return nil
	}
	var labels []string
	end := 12
	for question[end] != 0 {
		size := int(question[end])
		labels = append(labels, string(question[end+1:end+1+size]))
		end += 1 + size
	}
	kind := binary.BigEndian.Uint16(question[end+1:])
	end += 5

	n.mu.Lock()
	defer n.mu.Unlock()
	name := strings.ToLower(strings.Join(labels, "."))
	all, known := n.answers[name]
	if known && len(all) == 0 {
		return nil
	}
	var addresses []string
	if known && kind == 1 {
		addresses = all[min(n.asked[name], len(all)-1)]
		n.asked[name]++
	}
	out := append([]byte{}, question[:2]...)
	flags := uint16(0x8180)
	if !known {
		flags |= 3 // no such name
	}
	out = binary.BigEndian.AppendUint16(out, flags)
	for _, count := range []int{1, len(addresses), 0, 0} {
		out = binary.BigEndian.AppendUint16(out, uint16(count))
	}
	out = append(out, question[12:end]...)
	for _, address := range addresses {
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		out = append(out, net.ParseIP(address).To4()...)
	}
	return out
}

// listenTwice listens on the same port of 127.0.0.2 and 127.0.0.1. A port that is free
// on the first may be taken on the second.
func listenTwice(t *testing.T) (first, second net.Listener) {
	t.Helper()
	for {
		first, err := net.Listen("tcp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first.Addr().(*net.TCPAddr).Port))
		if err == nil {
			return first, second
		}
		_ = first.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// The guard judges a name by the address that is dialled. Here 127.0.0.2 is allowed,
// and 127.0.0.1 on the same port is not.
func TestNames(t *testing.T) {
	ours, others := listenTwice(t)
	good, victim := newAgentOn(t, ours, echo), newAgentOn(t, others, echo)
	dns := &names{answers: map[string][][]string{
		"good.test":    {{"127.0.0.2"}},
		"rebind.test":  {{"127.0.0.2"}, {"127.0.0.1"}},
		"private.test": {{"127.0.0.1"}},
		"both.test":    {{"127.0.0.1", "127.0.0.2"}},
		"meta.test":    {{"169.254.169.254"}},
		"zero.test":    {{"0.0.0.0"}},
	}}
	resolver := dns.resolver(t)
	at := func(name string) *platform {
		p := newPlatform(t, Target{URL: "http://" + name + ":" + good.port() + "/"}, "127.0.0.2/32")
		p.dialer.Resolver = resolver
		return p
	}
	wantCalls := func(call string, want int64) {
		t.Helper()
		if got := good.calls.Load(); got != want {
			t.Errorf("after %s the agent has %d calls, want %d", call, got, want)
		}
		if got := victim.calls.Load(); got != 0 {
			t.Errorf("after %s the other server has %d calls, want 0", call, got)
		}
	}
	if resp, got := at("good.test").send("{}"); resp.StatusCode != 200 || got != "{}" {
		t.Errorf("a message to good.test = %d %q, want it back", resp.StatusCode, got)
	}
	wantCalls("good.test", 1)

	p := at("rebind.test")
	if resp, got := p.send("{}"); resp.StatusCode != 200 || got != "{}" {
		t.Errorf("the first message to rebind.test = %d %q, want it back", resp.StatusCode, got)
	}
	wantCalls("the first message to rebind.test", 2)
	p.wantRefused("the second message to rebind.test", workspace.BadGateway, notCalled)
	wantCalls("the second message to rebind.test", 2)

	for _, name := range []string{"private.test", "meta.test", "zero.test"} {
		at(name).wantRefused("a message to "+name, workspace.BadGateway, notCalled)
		wantCalls(name, 2)
	}
	if resp, got := at("both.test").send("{}"); resp.StatusCode != 200 || got != "{}" {
		t.Errorf("a message to both.test = %d %q, want it back from the address that may be called", resp.StatusCode, got)
	}
	wantCalls("both.test", 3)
	at("none.test").wantRefused("a message to none.test", workspace.Unavailable, "It got nothing")
	wantCalls("none.test", 3)
}

// Neither the environment nor the agent chooses proxies and certificates.
func TestConnection(t *testing.T) {
	p := newPlatform(t, Target{})
	if p.guarded.Proxy != nil || p.trusted.Proxy != nil {
		t.Error("a proxy may be used, which would dial what the guard does not see")
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	srv.Config.ErrorLog = discardLog()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	p = newPlatform(t, Target{URL: srv.URL}, loopback)
	p.wantRefused("a message to a server with a certificate of its own", workspace.BadGateway, "certificate")
}
