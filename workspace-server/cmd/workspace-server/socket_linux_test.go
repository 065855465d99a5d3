package main

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"workspace-server/internal/store/storetest"
)

// A server that can accept no connection any more ends with an error, rather than
// wait for a signal.
func TestServerEndsWithItsSocket(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, _ := listenLoopback(t)
		p := start(t, ln, database)
		breakSocket(t, ln)
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			t.Fatalf("the server goes on without its socket; its log:\n%s", p.log)
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.log.String(), "workspace-server: accept ") {
			t.Errorf("without its socket the server ends with %v, want exit code 1 and what accept says; its log:\n%s", p.err, p.log)
		}
	})
}

// breakSocket ends the listening of a socket for all processes that have it.
func breakSocket(t *testing.T, ln *net.TCPListener) {
	t.Helper()
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var shutdownErr error
	if err := raw.Control(func(fd uintptr) { shutdownErr = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }); err != nil || shutdownErr != nil {
		t.Fatalf("shut the socket down: %v, %v", err, shutdownErr)
	}
}
