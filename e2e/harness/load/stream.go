package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// follow reads the stream of the events after a number until it ends, or ctx
// does. It calls began when the stream has, and seen with each event.
func (c *client) follow(ctx context.Context, after int64, patience time.Duration, began func(), seen func(id, data string)) error {
	resp, err := c.send(ctx, request{
		method: "GET", path: "/v1/events", accept: "text/event-stream",
		lastEventID: strconv.FormatInt(after, 10), timeout: patience,
	})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		return fmt.Errorf("Content-Type %q, want text/event-stream", got)
	}
	began()
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	conn := c.conn
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	var id, data string
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "id":
			id = value
		case name == "data":
			data += value
		case lines.Text() == "" && data != "":
			seen(id, data)
			data = ""
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the stream was cut: %w", err)
	}
	return nil
}

// Follow reads one stream of the events after a number until ctx is done. It
// calls began when the stream has, and seen with each event when the last byte
// of it is there.
func Follow(ctx context.Context, token, addr string, after int64, began func(), seen func(id, data string)) error {
	c := &client{addr: addr, token: token}
	defer c.close()
	err := c.follow(ctx, after, patience, began, seen)
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		err = errors.New("the server ended the stream")
	}
	return err
}

// A Caller sends requests over one connection, one after another. It sends
// none a second time.
type Caller struct{ client client }

// NewCaller returns a caller that is not connected yet.
func NewCaller(token, addr string) *Caller { return &Caller{client{addr: addr, token: token}} }

// Do sends a request, with a body of JSON if there is one, and reads all of
// the answer.
func (c *Caller) Do(ctx context.Context, method, path, body string) (status int, answer []byte, err error) {
	resp, err := c.client.do(ctx, request{method: method, path: path, body: body, timeout: patience})
	return resp.status, resp.body, err
}

// Close closes the connection.
func (c *Caller) Close() { c.client.close() }
