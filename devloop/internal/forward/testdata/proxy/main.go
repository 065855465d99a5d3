// Proxy forwards to one address, for measurements: by package forward, or by a
// plain httputil.ReverseProxy. It prints where it listens.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"devloop/internal/forward"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	backend := f.String("backend", "", "the address to forward to")
	plain := f.Bool("plain", false, "use httputil.ReverseProxy as it is")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	if *plain {
		return http.Serve(l, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: *backend}))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := forward.New(l, forward.Options{})
	p.Switch(forward.NewBackend(*backend))
	return p.Serve(ctx)
}
