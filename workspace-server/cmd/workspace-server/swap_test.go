package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"workspace-server/internal/store/storetest"
)

// clients are requests of all kinds, sent until they are stopped.
type clients struct {
	url           string
	authorization string

	stop  chan struct{}
	wg    sync.WaitGroup
	count atomic.Int64
	made  atomic.Int64 // events

	mu   sync.Mutex
	errs []error
}

func (c *clients) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

func (c *clients) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// run repeats what until the clients are stopped.
func (c *clients) run(transport *http.Transport, what func(*http.Client) error) {
	c.wg.Go(func() {
		client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
		defer client.CloseIdleConnections()
		for !c.stopped() {
			if err := what(client); err != nil {
				c.fail(err)
			}
			c.count.Add(1)
		}
	})
}

// call sends a request whose body cannot be sent twice.
func (c *clients) call(client *http.Client, method, path, body string, want int, into any) error {
	req, err := http.NewRequest(method, c.url+path, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(body))
	if body == "" {
		req.Body = nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", c.authorization)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s = %s %s, want %d", method, path, resp.Status, text, want)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

func (c *clients) createAndDelete(client *http.Client) error {
	var made struct{ ID string }
	if err := c.call(client, "POST", "/v1/workspaces", `{"name": "load"}`, 201, &made); err != nil {
		return err
	}
	c.made.Add(1)
	if err := c.call(client, "DELETE", "/v1/workspaces/"+made.ID, "", 204, nil); err != nil {
		return err
	}
	c.made.Add(1)
	return nil
}

func (c *clients) list(client *http.Client) error {
	return c.call(client, "GET", "/v1/workspaces", "", 200, nil)
}

// poll follows the events by long polls.
func (c *clients) poll(seen *[]int64) func(*http.Client) error {
	var after int64
	return func(client *http.Client) error {
		var got struct {
			Items []struct{ Seq int64 }
			Last  int64
		}
		if err := c.call(client, "GET", fmt.Sprintf("/v1/events?after=%d&wait=1", after), "", 200, &got); err != nil {
			return err
		}
		for _, item := range got.Items {
			*seen = append(*seen, item.Seq)
		}
		after = got.Last
		return nil
	}
}

// follow follows the events by streams, as a browser does, until it has seen last
// of them or ctx is done.
func (c *clients) follow(ctx context.Context, last func() int64) ([]int64, error) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var seen []int64
	id := "0"
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, "GET", c.url+"/v1/events", nil)
		if err != nil {
			return seen, err
		}
		req.Header.Set("Authorization", c.authorization)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Last-Event-ID", id)
		resp, err := client.Do(req)
		if err != nil {
			return seen, err
		}
		if resp.StatusCode != 200 {
			return seen, fmt.Errorf("stream = %s", resp.Status)
		}
		isEvent := false
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); {
			case name == "id":
				id, isEvent = value, false
			case name == "data":
				isEvent = true
			case name == "" && isEvent:
				var seq int64
				if _, err := fmt.Sscan(id, &seq); err != nil {
					return seen, err
				}
				seen, isEvent = append(seen, seq), false
			}
			if int64(len(seen)) >= last() {
				return seen, resp.Body.Close()
			}
		}
		if err := resp.Body.Close(); err != nil {
			return seen, err
		}
	}
	return seen, ctx.Err()
}

// TestSwap replaces the server, as a process, under load of every kind. Not
// one request may fail, and no follower may miss an event.
func TestSwap(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		const rounds = 6
		ln, url := listenLoopback(t)
		old := start(t, ln, database)
		c := &clients{url: url, authorization: authorization(t, database), stop: make(chan struct{})}
		for range 3 {
			c.run(&http.Transport{}, c.createAndDelete)
			c.run(&http.Transport{}, c.list)
		}
		c.run(&http.Transport{DisableKeepAlives: true}, c.createAndDelete)
		c.run(&http.Transport{DisableKeepAlives: true}, c.list)
		var polled []int64
		c.run(&http.Transport{}, c.poll(&polled))

		// The followers go on until they have seen what was made in the end.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var total atomic.Int64
		total.Store(1 << 60)
		var followers sync.WaitGroup
		followed := make([][]int64, 2)
		for i := range followed {
			followers.Go(func() {
				seen, err := c.follow(ctx, total.Load)
				if err != nil {
					c.fail(fmt.Errorf("stream: %w", err))
				}
				followed[i] = seen
			})
		}
		for range rounds {
			next := start(t, ln, database)
			old.stop()
			old = next
			for before := c.count.Load(); c.count.Load() < before+100; {
				time.Sleep(time.Millisecond)
			}
		}
		close(c.stop)
		c.wg.Wait()
		total.Store(c.made.Load() + 1)
		if err := c.call(http.DefaultClient, "POST", "/v1/workspaces", `{"name": "last"}`, 201, nil); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		followers.Wait()
		old.stop()
		if err := errors.Join(c.errs...); err != nil {
			t.Errorf("of %d calls some failed:\n%v", c.count.Load(), err)
		}
		for i, seen := range append(followed, polled) {
			for j, seq := range seen {
				if seq != int64(j+1) {
					t.Errorf("follower %d saw event %d after %d", i, seq, j)
					break
				}
			}
		}
		for i, seen := range followed {
			if int64(len(seen)) != total.Load() {
				t.Errorf("follower %d saw %d events, want %d", i, len(seen), total.Load())
			}
		}
	})
}

// Servers that start at once on a database without a schema all come up, and
// the streams of one show what another writes.
func TestServersAtOnce(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		var servers []*process
		var urls []string
		for range 3 {
			ln, url := listenLoopback(t)
			servers = append(servers, startOnly(t, ln, database))
			urls = append(urls, url)
		}
		for _, p := range servers {
			p.wantNotice("READY=1")
		}
		var wg sync.WaitGroup
		for _, url := range urls {
			wg.Go(func() {
				c := &clients{url: url, authorization: authorization(t, database)}
				if seen, err := c.follow(t.Context(), func() int64 { return 6 }); err != nil || len(seen) != 6 {
					t.Errorf("a server's stream shows %v, %v, want 6 events", seen, err)
				}
			})
			wg.Go(func() {
				c := &clients{url: url, authorization: authorization(t, database)}
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				if err := c.createAndDelete(client); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, p := range servers {
			p.stop()
		}
	})
}

// Streams and idle connections keep a server that stops no longer than its
// own deadlines, let alone the drain's.
func TestStopWithStreamsOpen(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, url := listenLoopback(t)
		p := start(t, ln, database, "DRAIN_TIMEOUT=10m")
		var wg sync.WaitGroup
		for range 5 {
			resp, err := http.DefaultClient.Do(newStreamRequest(t, url, authorization(t, database)))
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer resp.Body.Close()
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Errorf("a stream ends with %v, want its regular end", err)
				}
			})
		}
		for range 3 { // unused connections
			nc, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
		}
		p.stop()
		wg.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
}

func newStreamRequest(t *testing.T, url, authorization string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Accept", "text/event-stream")
	return req
}
