// Package config reads what "devloop up" is told on its command line.
package config

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

// A Config says what to run and how.
type Config struct {
	Root         string        // absolute directory that printed paths are relative to
	Dir          string        // absolute directory of the Go module, where air runs
	Listen       []string      // addresses to hold, in the order of the descriptors
	Debug        string        // address for editors that debug the server, or ""
	Debugger     string        // the program dlv
	Announce     string        // printed once the server serves
	ReadyTimeout time.Duration // how long a new build may take until it is ready
	DrainTimeout time.Duration // how long a replaced process may take to end
	Air          []string      // command that watches, and its arguments
}

// A UsageError is a command line that cannot be carried out.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

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

// Parse reads the arguments of "devloop up", run in directory root. Help and
// errors are printed to stderr in full; the error is flag.ErrHelp or a
// *UsageError.
func Parse(args []string, root string, stderr io.Writer) (Config, error) {
	c := Config{Root: root}
	var listen addresses
	f := flag.NewFlagSet("devloop up", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.Dir, "C", ".", "`directory` of the Go module: air runs there")
	f.Var(&listen, "listen", "`address` to hold for the server; repeat it for more (default \"127.0.0.1:8080\")")
	f.Func("debug", "`address` where debuggers may attach to the server; whoever reaches it can run code", func(s string) error {
		c.Debug = s
		return isAddress(s)
	})
	f.StringVar(&c.Debugger, "dlv", "dlv", "the `program` dlv")
	f.StringVar(&c.Announce, "announce", "", "`text` to print once the server serves, for instance where it is reached")
	f.DurationVar(&c.ReadyTimeout, "ready-timeout", 10*time.Second, "how long a new build may take to send READY=1")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", 10*time.Second, "how long a replaced process may take to end after SIGTERM")
	help := func() {
		fmt.Fprint(stderr, "usage: devloop up [flags] [-- air [air's arguments]]\n\nflags:\n")
		f.SetOutput(stderr)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help()
			return Config{}, flag.ErrHelp
		}
		return Config{}, &UsageError{err}
	}
	if c.ReadyTimeout <= 0 || c.DrainTimeout <= 0 {
		return Config{}, &UsageError{errors.New("-ready-timeout and -drain-timeout must be more than 0")}
	}
	if c.Listen = listen; len(listen) == 0 {
		c.Listen = []string{"127.0.0.1:8080"}
	}
	if !filepath.IsAbs(c.Dir) {
		c.Dir = filepath.Join(root, c.Dir)
	}
	if c.Air = f.Args(); len(c.Air) == 0 {
		c.Air = []string{"air"}
	}
	return c, nil
}
