// Package serve runs an HTTP server whose process another process can replace without
// losing a request: no connection is refused, no request is reset, and none that is
// under way is cut, however long it takes.
//
// Three things make that possible, and this package does each of them:
//
//   - The process serves on the listening socket that it inherits, so that connections
//     wait in the kernel's queue and not at a closed door. See [Take].
//   - It says when it is ready and when it stops, so that another process takes over at
//     the right moment. See [Manager.Notify].
//   - It drains: it finishes the requests that it has, and closes no connection that a
//     client is about to use. See [Server.Drain].
//
// The protocol is systemd's: LISTEN_FDS, LISTEN_FDNAMES and NOTIFY_SOCKET. So the same
// program works under "devloop up", as a systemd service with a socket unit, and
// without any of them: then it opens its address itself.
//
// [Run] is all that most programs need:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	context.AfterFunc(ctx, stop) // a second signal ends the program at once
//	if err := serve.Run(ctx, &http.Server{Addr: ":8080", Handler: handler}); err != nil {
//		log.Fatal(err)
//	}
//
// Others combine the parts: Take, [Manager.Listen], [New], [Server.Serve],
// [Manager.Notify], [Server.Stop] and [Server.Drain], in this order.
//
// The package needs the standard library only. A copy of its directory works as well.
package serve

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
)

// Run serves until ctx is done, and then drains. It returns nil when the last request
// has been answered and the last connection is closed.
//
// Each server gets the inherited socket that has its place in the list. If the process
// inherited none, each listens on its Addr. A server whose TLSConfig has a certificate
// speaks TLS. Run says READY=1 once all of them listen, and STOPPING=1 once none of them
// accepts any more.
//
// The drain has no deadline of its own, since whoever stops the process has one:
// systemd's TimeoutStopSec, the grace period of a container, the timeouts of "devloop
// up". A program that wants another one combines the parts.
//
// What never ends by itself, such as a stream of events, must be told: functions that
// were registered with [http.Server.RegisterOnShutdown] run when the drain begins. To
// stop the servers, end ctx; their own Shutdown and Close do nothing here.
func Run(ctx context.Context, servers ...*http.Server) error {
	manager, err := Take(os.Getenv, os.Unsetenv)
	if err != nil {
		return err
	}
	addresses := make([]string, len(servers))
	for i, server := range servers {
		addresses[i] = address(server)
	}
	listeners, err := manager.ListenAll(ctx, addresses...)
	if err != nil {
		return err
	}
	running := make([]*Server, len(servers))
	served := make(chan error, len(servers))
	for i, server := range servers {
		running[i] = New(server)
		go func() { served <- running[i].serve(listeners[i]) }()
	}

	failure := manager.Notify(Ready)
	if failure == nil {
		select {
		case failure = <-served: // nil only without servers, or after a Stop
			served <- nil
		case <-ctx.Done():
		}
	}
	for _, server := range running {
		server.Stop()
	}
	if failure == nil {
		failure = manager.Notify(Stopping)
	}
	for _, server := range running {
		// Nothing is cut without a deadline, so there is no error.
		failure = errors.Join(failure, server.Drain(context.WithoutCancel(ctx)))
	}
	for range running {
		failure = errors.Join(failure, <-served)
	}
	return failure
}

// serve is Serve or ServeTLS, whichever the configuration asks for.
func (s *Server) serve(ln net.Listener) error {
	if speaksTLS(s.given) {
		return s.ServeTLS(ln, "", "")
	}
	return s.Serve(ln)
}

func speaksTLS(server *http.Server) bool {
	c := server.TLSConfig
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// address returns where a server listens, with the defaults of net/http.
func address(server *http.Server) string {
	switch {
	case server.Addr != "":
		return server.Addr
	case speaksTLS(server):
		return ":https"
	}
	return ":http"
}
