package serve_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"devloop/serve"
)

// A whole program. Without a service manager it listens on the server's address.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	err := serve.Run(ctx, &http.Server{
		Addr: "127.0.0.1:0", Handler: hello,
		BaseContext: visit, // for this example: a client, and then SIGTERM
	})
	fmt.Println("ended:", err)
	// Output:
	// hello
	// ended: <nil>
}

// visit sends a request, and then ends this process as a service manager would.
func visit(ln net.Listener) context.Context {
	go func() {
		resp, err := http.Get("http://" + ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		_, _ = io.Copy(os.Stdout, resp.Body)
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
	return context.Background()
}

// Two servers in one program: the inherited sockets come in the same order, as in
// "devloop up -listen :8443 -listen :9090". The first one speaks TLS, since its
// configuration has a certificate.
func ExampleRun_two() {
	api := &http.Server{Addr: ":8443", TLSConfig: &tls.Config{GetCertificate: certificates}}
	metrics := &http.Server{Addr: ":9090"}

	// Streams of events would never end by themselves.
	streams, end := context.WithCancel(context.Background())
	api.RegisterOnShutdown(end)
	api.BaseContext = func(net.Listener) context.Context { return streams }

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := serve.Run(ctx, api, metrics); err != nil {
		log.Fatal(err)
	}
}

func certificates(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }

// The parts, for a program that does more between them, or that limits the drain.
func ExampleServer_Drain() {
	manager, err := serve.Take(os.Getenv, os.Unsetenv)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := manager.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := serve.New(&http.Server{Handler: http.NotFoundHandler()})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	fmt.Println("ready:", manager.Notify(serve.Ready))

	server.Stop()
	fmt.Println("stopping:", manager.Notify(serve.Stopping))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println("drained:", server.Drain(ctx), <-served)
	// Output:
	// ready: <nil>
	// stopping: <nil>
	// drained: <nil> <nil>
}
