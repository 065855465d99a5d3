package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// small sends small requests, each client one after the other on one connection,
// for some time or until a number of them was answered.
func small(ctx context.Context, addr string, s settings, lasts time.Duration, requests int) ([]time.Duration, time.Duration, error) {
	client := ordinary
	if s.bare {
		client = bare
	}
	var (
		wg    sync.WaitGroup
		left  atomic.Int64
		took  = make([][]time.Duration, s.clients)
		errs  = make([]error, s.clients)
		began = time.Now()
	)
	left.Store(int64(requests))
	for i := range s.clients {
		wg.Go(func() {
			took[i], errs[i] = client(addr, func() bool {
				if lasts > 0 {
					return ctx.Err() == nil && time.Since(began) < lasts
				}
				return ctx.Err() == nil && left.Add(-1) >= 0
			})
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	return all, elapsed, errors.Join(append(errs, ctx.Err())...)
}

// ordinary is a client of net/http.
func ordinary(addr string, more func() bool) ([]time.Duration, error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var took []time.Duration
	for more() {
		began := time.Now()
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			return nil, err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != "ok" {
			return nil, fmt.Errorf("answered %s %q, %w", resp.Status, body, err)
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// bare is a client that does as little as it can, so that there is more time for
// what stands behind it.
func bare(addr string, more func() bool) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	request := []byte("GET / HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	answer := make([]byte, 4096)
	var took []time.Duration
	for more() {
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		n := 0
		for !bytes.HasSuffix(answer[:n], []byte("\r\n\r\nok")) {
			m, err := conn.Read(answer[n:])
			if n += m; err != nil {
				return nil, fmt.Errorf("%w, after %q", err, answer[:n])
			}
		}
		took = append(took, time.Since(began))
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
			return nil, fmt.Errorf("answered %q", answer[:n])
		}
	}
	return took, nil
}

// download returns how long an answer of some bytes takes.
func download(ctx context.Context, addr string, size int64) (time.Duration, error) {
	began := time.Now()
	resp, done, err := send(ctx, addr, http.MethodGet, "/down?size="+strconv.FormatInt(size, 10), nil, 0)
	if err != nil {
		return 0, err
	}
	defer done()
	n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{resp.Body}, make([]byte, 256<<10))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes arrived of %d", n, size)
	}
	return time.Since(began), err
}

// upload returns how long a request of some bytes takes.
func upload(ctx context.Context, addr string, size int64) (time.Duration, error) {
	began := time.Now()
	resp, done, err := send(ctx, addr, http.MethodPost, "/up", io.LimitReader(zeros{}, size), size)
	if err != nil {
		return 0, err
	}
	defer done()
	got, err := io.ReadAll(resp.Body)
	if want := fmt.Sprint(size, nil); err == nil && string(got) != want {
		err = fmt.Errorf("the server says %q, want %q", got, want)
	}
	return time.Since(began), err
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func send(ctx context.Context, addr, method, path string, body io.Reader, size int64) (*http.Response, func(), error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, body)
	if err != nil {
		return nil, nil, err
	}
	req.ContentLength = size
	transport := &http.Transport{WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	return resp, func() { resp.Body.Close(); transport.CloseIdleConnections() }, nil
}

// held are open streams.
type held []net.Conn

func (h held) Close() {
	for _, c := range h {
		c.Close()
	}
}

// openStreams opens streams and reads the first event of each.
func openStreams(ctx context.Context, addr string, n int) (held, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var h held
	for range n {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return h, err
		}
		h = append(h, conn)
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return h, err
		}
		if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: "+addr+"\r\n\r\n"); err != nil {
			return h, err
		}
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return h, err
			}
			if line == "data: open\n" {
				break
			}
		}
	}
	return h, nil
}
