package program

import (
	"context"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"devloop/serve"
)

// Serve runs a server on the inherited socket if there is one. Else it listens
// on -addr and ends at SIGTERM at once, whatever it is doing.
func Serve(server *http.Server) {
	flag.StringVar(&server.Addr, "addr", "127.0.0.1:"+os.Getenv("PORT"), "address to listen on")
	flag.Parse()
	switch {
	case os.Getenv("LISTEN_FDS") != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		Fail(serve.Run(ctx, server))
	case server.TLSConfig != nil:
		Fail(server.ListenAndServeTLS("", ""))
	default:
		Fail(server.ListenAndServe())
	}
}
