package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A traffic is one of the four ways in which an HTTP client here behaves.
type traffic struct {
	post, close bool
}

func trafficOf(n int) traffic { return traffic{post: n%2 == 1, close: n/2%2 == 1} }

func httpStep(n int, addr string, again bool) step {
	kind := trafficOf(n)
	transport := &http.Transport{DialContext: dialUsed, DisableKeepAlives: kind.close}
	return exchange("http://"+addr+"/", kind.post, again, func() *http.Client { return &http.Client{Transport: transport} })
}

// renewal is after how many requests a connection that passes through the loop
// is replaced: until then, it stays with the process that it was made to.
const renewal = 20

func httpsStep(n int, addr string, again bool) step {
	kind := trafficOf(n)
	config := &tls.Config{InsecureSkipVerify: true} // the server made its certificate itself
	transport := &http.Transport{DialContext: dialUsed, TLSClientConfig: config, DisableKeepAlives: kind.close}
	requests := 0
	return exchange("https://"+addr+"/", kind.post, again, func() *http.Client {
		if requests++; requests%renewal == 0 {
			transport.CloseIdleConnections()
		}
		return &http.Client{Transport: transport}
	})
}

func h2cStep(n int, addr string, again bool) step {
	kind := trafficOf(n)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	return exchange("http://"+addr+"/", kind.post, again, func() *http.Client {
		if kind.close {
			transport.CloseIdleConnections()
		}
		return &http.Client{Transport: transport}
	})
}

// exchange sends a request and wants its body back. Unless again is set, the
// client cannot send the body twice.
func exchange(url string, post, again bool, client func() *http.Client) step {
	return func(ctx context.Context) (string, error) {
		method, want := http.MethodGet, []byte{}
		var body io.Reader
		if post {
			method, want = http.MethodPost, bytes.Repeat([]byte("x"), 2000)
			if body = bytes.NewReader(want); !again {
				body = io.NopCloser(body)
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, url, body)
		if err != nil {
			return "", err
		}
		req.ContentLength = int64(len(want))
		resp, err := do(client(), req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		if resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
			return "", fmt.Errorf("%s: %s with %d bytes (%.100q), want 200 OK with %d", method, resp.Status, len(got), got, len(want))
		}
		return resp.Header.Get("Server-Version"), nil
	}
}

// sseStep reads a stream to its end.
func sseStep(n int, addr string, _ bool) step {
	transport := &http.Transport{DialContext: dialUsed, DisableKeepAlives: n%2 == 0}
	return func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			return "", err
		}
		resp, err := do(&http.Client{Transport: transport}, req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		events := 0
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data: ") {
				events++
			}
		}
		if err := lines.Err(); err != nil || events != 10 {
			return "", fmt.Errorf("%s: a stream of %d events, %v, want 10", resp.Status, events, err)
		}
		return resp.Header.Get("Server-Version"), nil
	}
}
