package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"devloop/internal/listener"
	"devloop/internal/relay"
)

// An endpoint is where one listens or connects: HOST:PORT or unix:PATH.
type endpoint struct{ network, address string }

// String implements flag.Value.
func (e *endpoint) String() string { return e.address }

// Set implements flag.Value.
func (e *endpoint) Set(s string) error {
	if path, ok := strings.CutPrefix(s, "unix:"); ok && path != "" {
		*e = endpoint{"unix", path}
		return nil
	}
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		return errors.New("want HOST:PORT or unix:PATH")
	}
	*e = endpoint{"tcp", s}
	return nil
}

func (e *endpoint) listen(ctx context.Context) (net.Listener, error) {
	if e.network == "tcp" {
		return listener.Listen(ctx, e.address)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, e.network, e.address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// passOn stands between debuggers' clients and a debugger until ctx is done.
func passOn(ctx context.Context, args []string, _ func(string) string, std streams) error {
	var at, to endpoint
	f := flag.NewFlagSet("devloop relay", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Var(&at, "listen", "`address` for clients, HOST:PORT or unix:PATH; anyone who reaches it can use the debugger")
	f.Var(&to, "to", "`address` of the debugger, which \"dlv --headless\" and \"dlv dap\" print")
	verbose := f.Bool("v", false, "print what is said: the connection's number, -> or <-, the message")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(std.out, "usage: devloop relay [-v] -listen ADDRESS -to ADDRESS\n\nflags:\n")
			f.SetOutput(std.out)
			f.PrintDefaults()
			return nil
		}
		return &usageError{err}
	}
	if f.NArg() > 0 {
		return &usageError{fmt.Errorf("devloop relay knows no argument %q", f.Arg(0))}
	}
	if at.network == "" || to.network == "" {
		return &usageError{errors.New("devloop relay needs -listen and -to")}
	}
	l, err := at.listen(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	var mu sync.Mutex
	p := &relay.PassThrough{Network: to.network, Address: to.address, Failed: func(n int64, err error) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(std.err, "%d %v\n", n, err)
	}}
	if *verbose {
		p.Log = func(n int64, line string) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(std.out, "%d %s\n", n, strings.TrimRight(line, "\n"))
		}
	}
	fmt.Fprintf(std.out, "listening on %s\n", l.Addr())
	p.Serve(ctx, l)
	return nil
}
