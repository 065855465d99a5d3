package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Load is clients that send one request after the other.
type Load struct {
	t      testing.TB
	url    string
	cancel context.CancelFunc
	wg     sync.WaitGroup
	count  atomic.Int64

	mu     sync.Mutex
	failed []error
}

// StartLoad starts n clients of each kind: GET and POST, on kept-alive
// connections and on new ones.
func StartLoad(t testing.TB, address string, n int) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{t: t, url: "http://" + address + "/", cancel: cancel}
	for range n {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for _, keep := range []bool{true, false} {
				l.wg.Go(func() { l.client(ctx, method, keep) })
			}
		}
	}
	return l
}

func (l *Load) client(ctx context.Context, method string, keep bool) {
	transport := &http.Transport{DisableKeepAlives: !keep}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for i := 0; ctx.Err() == nil; i++ {
		if err := request(client, l.url, method, i); err != nil {
			l.mu.Lock()
			l.failed = append(l.failed, err)
			l.mu.Unlock()
		}
		l.count.Add(1)
		time.Sleep(time.Millisecond) // leaves the processor to what is tested
	}
}

func request(client *http.Client, url, method string, i int) error {
	var want []byte
	if method == http.MethodPost {
		want = bytes.Repeat([]byte{byte('a' + i%26)}, 5000)
	}
	// Without GetBody, net/http cannot hide a failure by sending the body again.
	req, err := http.NewRequest(method, url, io.NopCloser(bytes.NewReader(want)))
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(want))
	if method == http.MethodGet {
		req.Body = nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || method == http.MethodPost && !bytes.Equal(got, want) {
		return fmt.Errorf("%s %s = %s with %d bytes, want 200 with %d", method, url, resp.Status, len(got), len(want))
	}
	return nil
}

// Count returns how many requests were answered or lost so far.
func (l *Load) Count() int64 { return l.count.Load() }

// Stop ends the clients and fails the test for each lost request.
func (l *Load) Stop() {
	l.t.Helper()
	l.cancel()
	l.wg.Wait()
	for i, err := range l.failed {
		if i == 10 {
			l.t.Errorf("and %d more", len(l.failed)-i)
			break
		}
		l.t.Errorf("lost after some of %d requests: %v", l.count.Load(), err)
	}
	if l.count.Load() == 0 {
		l.t.Error("the clients sent nothing")
	}
}

// An Answer is what the server program says of itself.
type Answer struct {
	PID     int
	Version string
}

// Ask asks the server program who it is, on its own connection.
func Ask(address string) (Answer, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + address + "/")
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	if _, err := fmt.Sscanf(strings.TrimSpace(string(body)), "version %s pid %d", &a.Version, &a.PID); err != nil {
		return Answer{}, fmt.Errorf("answer %q: %w", body, err)
	}
	return a, nil
}

// MustAsk is Ask for a server that must answer.
func MustAsk(t testing.TB, address string) Answer {
	t.Helper()
	a, err := Ask(address)
	if err != nil {
		t.Fatalf("ask the server: %v", err)
	}
	return a
}

// Hold sends a request that the server answers only after d, and returns once
// it is being served. The channel gets what became of it.
func Hold(t testing.TB, address string, d time.Duration) <-chan error {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * patience}
	resp, err := client.Get("http://" + address + "/slow/" + d.String())
	if err != nil {
		t.Fatalf("hold a request: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		defer resp.Body.Close()
		_, err := io.ReadAll(resp.Body)
		done <- err
	}()
	return done
}
