// Command workspace-server is the control plane of agent workspaces. It only
// wires the packages together.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"workspace-server/internal/config"
)

// version is set by the linker in a release: -ldflags "-X main.version=v1.2.3".
var version string

type streams struct {
	out, err io.Writer
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, "workspace-server: ended at once, by a second signal")
		os.Exit(1)
	}()
	if err := run(ctx, os.Args[1:], os.Getenv, streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "workspace-server:", indent(err.Error()))
		os.Exit(1)
	}
}

// indent sets the further lines of an error apart from other output.
func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n  ") }

type verb struct {
	name, help string
	run        func(ctx context.Context, cfg config.Config, getenv func(string) string, s streams) error
}

func verbs() []verb {
	return []verb{
		{"serve", "serve the API until SIGTERM; the default", serve},
		{"migrate", "bring the database's schema up to date, and exit", migrateOnly},
		{"healthcheck", "ask the server at LISTEN_ADDR whether it is ready; exit 1 if it is not", healthcheck},
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, s streams) error {
	name := "serve"
	if len(args) > 0 {
		name = args[0]
	}
	if len(args) > 1 {
		return fmt.Errorf("unexpected argument %q after %s; settings come from the environment (workspace-server -h)", args[1], name)
	}
	switch name {
	case "-h", "-help", "--help", "help":
		_, err := io.WriteString(s.out, help())
		return err
	case "version", "-version", "--version":
		_, err := fmt.Fprintln(s.out, build())
		return err
	}
	for _, v := range verbs() {
		if v.name != name {
			continue
		}
		cfg, err := config.Load(getenv)
		if err != nil {
			return err
		}
		return v.run(ctx, cfg, getenv, s)
	}
	return fmt.Errorf("unknown verb %q; workspace-server -h lists them", name)
}

func help() string {
	var b strings.Builder
	b.WriteString("workspace-server runs, arranges and watches agent workspaces.\n\nUsage: workspace-server [verb]\n\n")
	for _, v := range append(verbs(), verb{name: "version", help: "print what was built"}) {
		fmt.Fprintf(&b, "  %-12s %s\n", v.name, v.help)
	}
	b.WriteString("\nSettings are environment variables; an empty one counts as unset:\n\n")
	b.WriteString(config.Table())
	return b.String()
}
