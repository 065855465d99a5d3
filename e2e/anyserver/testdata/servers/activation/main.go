// Activation serves on a socket of systemd with the library that most programs use
// for that, which insists on LISTEN_PID.
package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"devloop/serve"
	"servers/program"
)

func main() {
	listeners, err := activation.ListenersWithNames()
	program.Fail(err)
	if len(listeners["web"]) != 1 {
		program.Fail(errors.New("there is no socket with the name web"))
	}
	server := serve.New(&http.Server{Handler: program.Handler()})
	go func() { program.Fail(server.Serve(listeners["web"][0])) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, err = daemon.SdNotify(false, daemon.SdNotifyReady)
	program.Fail(err)
	<-ctx.Done()
	server.Stop()
	_, err = daemon.SdNotify(false, daemon.SdNotifyStopping)
	program.Fail(err)
	program.Fail(server.Drain(context.Background()))
}
