#!/bin/sh
# Tool:      net/http/httputil.ReverseProxy of Go 1.26.
# Behaviour: the trailers of a request do not reach the backend. Their names do,
#            each without a value.
# Surprise:  those of a response do, and Transport and Server carry both. The
#            proxy clones the request before its body is read, with a map of
#            trailers that nobody fills. A client's checksum or status is lost
#            without an error.
# Do:        share the map in Rewrite: r.Out.Trailer = r.In.Trailer.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >go.mod <<'END'
module finding

go 1.26
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

// through sends a trailer through a proxy and returns what the backend got.
func through(rewrite func(*httputil.ProxyRequest)) string {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer)
	}))
	defer backend.Close()
	target, _ := url.Parse(backend.URL)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		rewrite(r)
	}})
	defer proxy.Close()
	req, _ := http.NewRequest("POST", proxy.URL, io.NopCloser(strings.NewReader("body")))
	req.Trailer = http.Header{"Checksum": {"abc"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	return string(got)
}

func main() {
	plain := through(func(*httputil.ProxyRequest) {})
	shared := through(func(r *httputil.ProxyRequest) { r.Out.Trailer = r.In.Trailer })
	fmt.Println("as it is:           ", plain)
	fmt.Println("with the map shared:", shared)
	if strings.Contains(plain, "abc") || !strings.Contains(shared, "abc") {
		os.Exit(1)
	}
}
END
GOTOOLCHAIN=local go run .
