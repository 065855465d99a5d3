package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"devloop/internal/air"
	"devloop/internal/initialize"
)

// initModule writes what a module needs to run in the loop.
func initModule(ctx context.Context, args []string, _ func(string) string, std streams) error {
	o := initialize.Options{Out: std.out}
	f := flag.NewFlagSet("devloop init", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.Dir, "C", ".", "`directory` of the Go module")
	f.StringVar(&o.Main, "main", "", "`directory` of the main package, such as ./cmd/server (default: the only one)")
	f.StringVar(&o.Listen, "listen", "", "`address` for the loop to hold (default: the program's own port)")
	f.BoolVar(&o.Force, "f", false, "replace the files that are there")
	f.BoolVar(&o.Container, "container", false, "write a dev container, too: Dockerfile.dev, docker-compose.dev.yml, .devcontainer/devcontainer.json")
	f.StringVar(&o.Source, "source", sourceOfThis(), "`directory` of devloop's module, which the container's image builds")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(std.out, "usage: devloop init [flags] [-- arguments of the program]\n\nflags:\n")
			f.SetOutput(std.out)
			f.PrintDefaults()
			return nil
		}
		return &usageError{err}
	}
	if o.Listen != "" {
		if err := isAddress(o.Listen); err != nil {
			return &usageError{fmt.Errorf("-listen: %w", err)}
		}
	}
	o.Arguments = f.Args()
	if person(os.Stdin) {
		o.Ask = os.Stdin
	}
	err := initialize.Run(ctx, o)
	if _, ok := errors.AsType[*initialize.ChoiceError](err); ok {
		return &usageError{err}
	}
	return err
}

// sourceOfThis returns the directory of this module, if it is on this machine.
func sourceOfThis() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "" // built with -trimpath
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// person reports whether a person can answer: it is a terminal.
func person(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// needConfiguration explains "devloop init" if air is run as it is by default, and the
// module has no configuration for it.
func needConfiguration(dir string, command []string) error {
	if filepath.Base(command[0]) != "air" {
		return nil // another watcher
	}
	path := air.ConfigPath(command, dir)
	if exists(path) || path == filepath.Join(dir, initialize.Config) && exists(filepath.Join(dir, ".air.conf")) {
		return nil
	}
	return fmt.Errorf("%s is missing, which tells air what to build and to run: 'devloop init' writes it for this module", path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
