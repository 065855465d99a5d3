#!/bin/sh
# Tool:      net/http's Server of Go 1.26, Protocols with SetHTTP1 and
#            SetUnencryptedHTTP2.
# Behaviour: a malformed request of less than 14 bytes, such as "GET /" and an
#            empty line, gets no answer. The server waits for more.
# Surprise:  without unencrypted HTTP/2, the same bytes get 400 at once. The
#            server peeks for as many bytes as HTTP/2's preface begins with, even
#            if the first one differs already; ReadTimeout is 0 by default.
# Do:        set ReadHeaderTimeout, or look at the first bytes before the
#            connection gets to a server that knows HTTP/2.
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
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// ask returns the first line of the answer to a malformed request.
func ask(http2 bool) string {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(http2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	server := &http.Server{Protocols: &p}
	go server.Serve(l)
	defer server.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	io.WriteString(c, "GET /\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "nothing in 3 s"
	}
	return strings.TrimSpace(line)
}

func main() {
	plain, http2 := ask(false), ask(true)
	fmt.Println("HTTP/1.1 alone:             ", plain)
	fmt.Println("with HTTP/2 without TLS too:", http2)
	if !strings.HasPrefix(plain, "HTTP/1.1 400 ") || http2 != "nothing in 3 s" {
		os.Exit(1)
	}
}
END
GOTOOLCHAIN=local go run .
