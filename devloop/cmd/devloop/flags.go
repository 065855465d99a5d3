package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// options are the flags and arguments of "devloop up".
type options struct {
	root         string        // absolute directory that printed paths are relative to
	dir          string        // absolute directory of the Go module, where air runs
	listen       []string      // addresses to hold, in the order of the descriptors
	debug        string        // address for editors that debug the server, or ""
	debugger     string        // the program dlv
	settings     string        // absolute path of a file that is read at the start only, or ""
	announce     string        // printed once the server serves
	readyTimeout time.Duration // how long a new build may take until it is ready
	drainTimeout time.Duration // how long a replaced process may take to end
	air          []string      // command that watches, and its arguments
}

// addresses collects a flag that may be given several times.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(s string) error {
	if err := isAddress(s); err != nil {
		return err
	}
	*a = append(*a, s)
	return nil
}

func isAddress(s string) error {
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		return errors.New("want HOST:PORT or :PORT")
	}
	return nil
}

// parseUp reads the arguments of "devloop up", run in directory root. It prints
// help to stderr. Its error is flag.ErrHelp or a *usageError.
func parseUp(args []string, root string, stderr io.Writer) (options, error) {
	o := options{root: root}
	var listen addresses
	f := flag.NewFlagSet("devloop up", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.dir, "C", ".", "`directory` of the Go module: air runs there")
	f.Var(&listen, "listen", "`address` to hold for the server; repeat it for more (default \"127.0.0.1:8080\")")
	f.Func("debug", "`address` where debuggers may attach to the server; anyone who reaches it can run code", func(s string) error {
		o.debug = s
		return isAddress(s)
	})
	f.StringVar(&o.debugger, "dlv", "dlv", "`program` to run as the debugger")
	f.StringVar(&o.announce, "announce", "", "`text` to print once the server serves, for instance where it is reached")
	f.StringVar(&o.settings, "settings", "", "`file` of NAME=VALUE lines that is read at the start only: the loop says when an edit changes one")
	f.DurationVar(&o.readyTimeout, "ready-timeout", 10*time.Second, "how long a new build may take to send READY=1")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 10*time.Second, "how long a replaced process may take to end after SIGTERM")
	help := func() {
		fmt.Fprint(stderr, "usage: devloop up [flags] [-- air [air's arguments]]\n\nflags:\n")
		f.SetOutput(stderr)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help()
			return options{}, flag.ErrHelp
		}
		return options{}, &usageError{err}
	}
	if o.readyTimeout <= 0 || o.drainTimeout <= 0 {
		return options{}, &usageError{errors.New("-ready-timeout and -drain-timeout must be more than 0")}
	}
	if o.listen = listen; len(listen) == 0 {
		o.listen = []string{"127.0.0.1:8080"}
	}
	if !filepath.IsAbs(o.dir) {
		o.dir = filepath.Join(root, o.dir)
	}
	if o.settings != "" && !filepath.IsAbs(o.settings) {
		o.settings = filepath.Join(root, o.settings)
	}
	if o.air = f.Args(); len(o.air) == 0 {
		o.air = []string{"air"}
	}
	return o, nil
}
