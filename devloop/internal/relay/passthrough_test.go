package relay_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"devloop/internal/dap"
	"devloop/internal/relay"
	"devloop/internal/testkit"
)

// passThrough relays to a debugger at an address, and returns the relay's own
// and what it tells.
func passThrough(t *testing.T, network, address string) (string, *reports) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := &reports{}
	p := &relay.PassThrough{
		Network: network, Address: address,
		Log:    func(n int64, line string) { told.add("%d %s", n, line) },
		Failed: func(n int64, err error) { told.add("%d failed: %v", n, err) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { p.Serve(ctx, l) })
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
		if t.Failed() {
			t.Logf("the relay tells:\n%s", told.text())
		}
	})
	return l.Addr().String(), told
}

// dial connects, for as long as a test may wait.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestPassThroughDelve talks to a dlv that has no idea of the relay.
func TestPassThroughDelve(t *testing.T) {
	socket := filepath.Join(testkit.ShortDir(t), "dlv")
	cmd := exec.Command(testkit.Delve(t), "dap", "--listen=unix:"+socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it ends with its client, unless the test fails
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("dlv printed %q, %v", line, err)
	}
	address, told := passThrough(t, "unix", socket)
	client := dap.NewConn(dial(t, address), nil)
	request := dap.NewRequest("initialize", map[string]any{"clientID": "a test", "pathFormat": "path"})
	request.Seq = 77
	if err := client.Forward(request); err != nil {
		t.Fatal(err)
	}
	m, err := client.Receive()
	if err != nil || m.RequestSeq != 77 || !m.Success {
		t.Fatalf("initialize = %+v, %v, want success for request 77", m, err)
	}
	// Which the relay in devloop up takes away.
	var can struct{ SupportTerminateDebuggee, SupportsLogPoints bool }
	if err := m.Field("body", &can); err != nil || !can.SupportsLogPoints {
		t.Errorf("initialize = %+v, %v, want dlv's capabilities", m, err)
	}
	if err := client.Forward(dap.NewRequest("disconnect", nil)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = client.Receive()
	}
	if err != io.EOF {
		t.Errorf("after disconnect: %v, want the end", err)
	}
	testkit.Eventually(t, "the connection's end", func() bool { return strings.HasSuffix(told.text(), "1 closed") })
	for _, want := range []string{"1 connected: 127.0.0.1:", `1 -> {"arguments":{"clientID":"a test",`, `1 <- {"body":{`, `1 -> {"command":"disconnect"`} {
		if !strings.Contains(told.text(), "\n"+want) && !strings.HasPrefix(told.text(), want) {
			t.Errorf("the relay tells\n%s\nwant a line that begins with %s", told.text(), want)
		}
	}
}

// TestPassThroughBytes hands on JSON-RPC untouched, for many clients at once.
func TestPassThroughBytes(t *testing.T) {
	debugger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer debugger.Close()
	var debuggers sync.WaitGroup
	defer debuggers.Wait()
	defer debugger.Close()
	go func() {
		for {
			conn, err := debugger.Accept()
			if err != nil {
				return
			}
			debuggers.Go(func() {
				defer conn.Close()
				// A line is answered by what it says; the line "{end}" ends it.
				for in := bufio.NewReader(conn); ; {
					line, err := in.ReadString('\n')
					if err != nil || line == "{end}\n" {
						return
					}
					fmt.Fprint(conn, line)
				}
			})
		}
	}()
	address, told := passThrough(t, "tcp", debugger.Addr().String())
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience)) // or the test ends by its own
			in := bufio.NewReader(conn)
			for i := range 20 {
				want := fmt.Sprintf("{ \"id\" :%d,\"id\":%d, no JSON \x00\xff%s}\n", n, i, strings.Repeat("x", i*i*200))
				fmt.Fprint(conn, want)
				if got, err := in.ReadString('\n'); err != nil || got != want {
					t.Errorf("the answer is %.80q, %v, want %.80q", got, err, want)
					return
				}
			}
			if n%2 == 0 {
				return
			}
			fmt.Fprint(conn, "{end}\n")
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("after the debugger's end: %q, %v, want the end", rest, err)
			}
		})
	}
	clients.Wait()
	testkit.Eventually(t, "the connections' end", func() bool { return strings.Count(told.text(), " closed") == 8 })
	if strings.Contains(told.text(), "failed") {
		t.Errorf("the relay tells\n%s\nwant no failure", told.text())
	}
}

// TestPassThroughFails tells why there is nothing to hand on.
func TestPassThroughFails(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tests := []struct{ network, to, say, want string }{
		{"unix", filepath.Join(t.TempDir(), "nobody"), "{}", "connect to the debugger: dial unix"},
		{"tcp", silent.Addr().String(), "GET / HTTP/1.1\r\n\r\n", "Content-Length"},
		{"tcp", silent.Addr().String(), "Content-Length: 2\r\n\r\n{}", "type"},
	}
	for _, tt := range tests {
		address, told := passThrough(t, tt.network, tt.to)
		conn := dial(t, address)
		fmt.Fprint(conn, tt.say)
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%q is answered", tt.say)
		}
		testkit.Eventually(t, "the connection's end", func() bool {
			return strings.HasSuffix(told.text(), "1 closed") || strings.Contains(told.text(), "failed")
		})
		if !slices.ContainsFunc(strings.Split(told.text(), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "1 failed: ") && strings.Contains(line, tt.want)
		}) {
			t.Errorf("%q to %s: the relay tells\n%s\nwant a failure with %q", tt.say, tt.to, told.text(), tt.want)
		}
	}
	// A connection that says nothing ends with the relay, as the test's end shows.
	address, told := passThrough(t, "tcp", silent.Addr().String())
	dial(t, address)
	testkit.Eventually(t, "the connection", func() bool { return strings.Contains(told.text(), "connected") })
}
