// Plain is a server as most are: it listens on an address of its own, and knows
// of no one who might replace it.
package main

import (
	"context"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"servers/program"
)

// fixed is an address that the program cannot be told; the linker sets it.
var fixed string

func main() {
	addr := flag.String("addr", "", "address to listen on; default: $PORT, or the fixed one")
	second := flag.String("second", os.Getenv("SECOND"), "another address to listen on")
	shutdown := flag.Bool("shutdown", false, "finish what was begun at SIGTERM, as far as net/http does")
	flag.Parse()
	switch port := os.Getenv("PORT"); {
	case *addr != "":
	case fixed != "":
		*addr = fixed
	default:
		*addr = "127.0.0.1:" + port
	}
	if *second != "" {
		go func() { program.Fail(http.ListenAndServe(*second, program.Handler())) }()
	}
	server := &http.Server{Addr: *addr, Handler: program.Handler()}
	if !*shutdown {
		program.Fail(server.ListenAndServe())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			program.Fail(err)
		}
	}()
	<-ctx.Done()
	program.Fail(server.Shutdown(context.Background()))
}
