package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the flags and arguments of "devloop up".
type options struct {
	root         string        // absolute directory that printed paths are relative to
	dir          string        // absolute directory of the Go module, where air runs
	mode         string        // how connections come to the server
	listen       []string      // addresses to hold, in the order of the descriptors
	names        []string      // of these, if any has one
	backend      []string      // where the server listens, for each of listen, if that cannot be chosen
	setenv       []string      // variables for the server, with placeholders
	ready        string        // path that the server answers once it is ready, or ""
	debug        string        // address for editors that debug the server, or ""
	debugger     string        // the program dlv
	settings     string        // absolute path of a file that is read at the start only, or ""
	announce     string        // printed once the server serves
	readyTimeout time.Duration // how long a new build may take until it is ready
	drainTimeout time.Duration // how long a replaced process may go on with the requests it has
	stopTimeout  time.Duration // how long one may take to end that has none
	air          []string      // command that watches, and its arguments
}

// holding collects the addresses to hold, and their names.
type holding struct {
	addresses, names []string
	named            bool
}

// nameless is the name in LISTEN_FDNAMES of a socket that has none.
const nameless = "unknown"

func (h *holding) add(s string) error {
	name, address, ok := strings.Cut(s, "=")
	if !ok {
		name, address = nameless, s
	}
	h.named = h.named || ok
	if name == "" || strings.ContainsAny(name, ": ") {
		return errors.New("want [NAME=]HOST:PORT, with a name without spaces and colons")
	}
	h.addresses, h.names = append(h.addresses, address), append(h.names, name)
	return isAddress(address)
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
	var listen holding
	f := flag.NewFlagSet("devloop up", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.dir, "C", ".", "`directory` of the Go module: air runs there")
	f.Func("listen", "`address` to hold for the server, HOST:PORT or NAME=HOST:PORT; repeat it for more (default \"127.0.0.1:8080\")", listen.add)
	f.StringVar(&o.mode, "mode", "auto", "how connections come to the server: `auto`, socket, forward or fixed")
	f.Func("backend", "`address` where the server always listens, for -mode fixed; repeat it for each -listen", func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if host == "" || host == "0.0.0.0" || host == "::" {
			s = net.JoinHostPort("127.0.0.1", port)
		}
		o.backend = append(o.backend, s)
		return errors.Join(err, isAddress(s))
	})
	f.Func("setenv", "`variable` for the server, NAME=VALUE, in which {addr}, {host} and {port} are its own address; {addr2} is its second", func(s string) error {
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
			return errors.New("want NAME=VALUE")
		}
		o.setenv = append(o.setenv, s)
		return nil
	})
	f.StringVar(&o.ready, "ready", "", "`path` that the server answers with 2xx or 3xx once it is ready (default: it listens)")
	f.Func("debug", "`address` where debuggers may attach to the server; anyone who reaches it can run code", func(s string) error {
		o.debug = s
		return isAddress(s)
	})
	f.StringVar(&o.debugger, "dlv", "dlv", "`program` to run as the debugger")
	f.StringVar(&o.announce, "announce", "", "`text` to print once the server serves, for instance where it is reached")
	f.StringVar(&o.settings, "settings", "", "`file` of NAME=VALUE lines that is read at the start only: the loop says when an edit changes one")
	f.DurationVar(&o.readyTimeout, "ready-timeout", 10*time.Second, "how long a new build may take until it is ready")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 10*time.Minute, "how long a replaced process may go on with the requests that it has")
	f.DurationVar(&o.stopTimeout, "stop-timeout", 10*time.Second, "how long a process without requests may take to end after SIGTERM")
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
	if o.listen = listen.addresses; len(o.listen) == 0 {
		o.listen = []string{"127.0.0.1:8080"}
	}
	if listen.named {
		o.names = listen.names
	}
	if err := o.settle(); err != nil {
		return options{}, &usageError{err}
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

// settle checks what flags say together, and draws conclusions.
func (o *options) settle() error {
	if o.mode == "auto" && len(o.backend) > 0 {
		o.mode = "fixed"
	}
	switch {
	case !slices.Contains([]string{"auto", "socket", "forward", "fixed"}, o.mode):
		return fmt.Errorf("-mode %s is none of auto, socket, forward and fixed", o.mode)
	case o.mode != "fixed" && len(o.backend) > 0:
		return fmt.Errorf("-backend is for -mode fixed, not for -mode %s", o.mode)
	case o.mode == "fixed" && len(o.backend) != len(o.listen):
		return errors.New("-mode fixed needs as many -backend as -listen")
	case o.ready != "" && !strings.HasPrefix(o.ready, "/"):
		return fmt.Errorf("-ready %s must begin with a slash", o.ready)
	case o.ready != "" && o.mode == "socket":
		return errors.New("-ready is not for -mode socket, in which the server sends READY=1")
	case o.readyTimeout <= 0 || o.drainTimeout <= 0 || o.stopTimeout <= 0:
		return errors.New("-ready-timeout, -drain-timeout and -stop-timeout must be more than 0")
	}
	return nil
}
