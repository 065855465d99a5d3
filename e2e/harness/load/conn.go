package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// A request is what a client sends.
type request struct {
	method, path string
	accept       string
	lastEventID  string
	body         string
	slow         time.Duration // pause in the middle of the body
	close        bool          // a connection for this request alone
	timeout      time.Duration
}

// A response is an answer that was read to its end.
type response struct {
	status int
	body   []byte
}

// A client speaks HTTP/1.1 without net/http over at most one connection: net/http
// silently sends a request again when a kept-alive connection turns out to be
// dead, and such a request must count as lost.
type client struct {
	name  string
	addr  string
	token string // empty: none is sent
	conn  net.Conn
	in    *bufio.Reader
	used  int // requests sent over conn

	pace   time.Duration // how long it pauses between requests
	last   time.Time     // when conn was last used
	rested time.Duration // how long conn was not used before the latest request
}

// late is by how much more than its pace a client lets a connection rest only if the
// machine is too busy to run it. A draining server closes a connection that has
// rested for 850 ms, and promises nothing for what is sent at that moment (Drain in
// devloop/serve). Of that rest the client sees a part only: what
// stands between, such as the engine's proxy, waits for the machine too.
const late = 160 * time.Millisecond

// errRested is in the error of a request that the server does not promise to
// answer.
var errRested = errors.New("sent after a long rest")

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// connect makes a connection if there is none that can be used.
func (c *client) connect(ctx context.Context) error {
	if c.conn != nil && closedByPeer(c.conn) {
		c.close() // said before anything was asked: nothing is lost
	}
	if c.conn != nil {
		return nil
	}
	c.last = time.Now()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn, c.in, c.used = conn, bufio.NewReader(conn), 0
	return nil
}

// closedByPeer looks into the kernel's buffer without waiting.
func closedByPeer(conn net.Conn) bool {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return closed || err != nil
}

// send writes a request and reads the head of the response. The caller reads
// the response's body to its end, or closes the connection, before the next.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	c.used++
	err := c.write(ctx, r)
	c.rested = time.Since(c.last) - r.slow
	if err != nil {
		return nil, c.lost(fmt.Errorf("write request %d of the connection: %w", c.used, err))
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: r.method})
	if err != nil {
		return nil, c.lost(fmt.Errorf("read response %d of the connection: %w", c.used, err))
	}
	return resp, nil
}

// lost marks the error of a request that was sent after a long rest, unless it was
// the deadline that passed: then the connection was not closed.
func (c *client) lost(err error) error {
	if c.rested < c.pace+late || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w (%s): %w", errRested, c.rested.Round(time.Millisecond), err)
}

func (c *client) write(ctx context.Context, r request) error {
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.path, c.addr)
	if c.token != "" {
		fmt.Fprintf(&head, "Authorization: Bearer %s\r\n", c.token)
	}
	if r.accept != "" {
		fmt.Fprintf(&head, "Accept: %s\r\n", r.accept)
	}
	if r.lastEventID != "" {
		fmt.Fprintf(&head, "Last-Event-ID: %s\r\n", r.lastEventID)
	}
	if r.body != "" {
		fmt.Fprintf(&head, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.body))
	}
	if r.close {
		head.WriteString("Connection: close\r\n")
	}
	head.WriteString("\r\n")
	if r.slow == 0 {
		_, err := io.WriteString(c.conn, head.String()+r.body)
		return err
	}
	half := len(r.body) / 2
	if _, err := io.WriteString(c.conn, head.String()+r.body[:half]); err != nil {
		return err
	}
	pause(ctx, r.slow)
	_, err := io.WriteString(c.conn, r.body[half:])
	return err
}

// do sends a request and reads all of the response.
func (c *client) do(ctx context.Context, r request) (response, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		c.close()
		return response{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.close()
		return response{}, fmt.Errorf("read the body of a response with status %d: %w", resp.StatusCode, err)
	}
	c.last = time.Now()
	if resp.Close || r.close {
		c.close()
	}
	return response{resp.StatusCode, body}, nil
}

// pause keeps a client's pace.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Get asks over its own connection.
func Get(ctx context.Context, addr, path string) (status int, body []byte, err error) {
	return GetAs(ctx, "", addr, path)
}

// GetAs is Get with a token.
func GetAs(ctx context.Context, token, addr, path string) (status int, body []byte, err error) {
	c := &client{addr: addr, token: token}
	defer c.close()
	resp, err := c.do(ctx, request{method: "GET", path: path, close: true, timeout: patience})
	return resp.status, resp.body, err
}
