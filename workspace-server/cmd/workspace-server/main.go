// Command workspace-server is the control plane of agent workspaces. It only
// wires the packages together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"workspace-server/internal/config"
	processes "workspace-server/internal/provision/process"
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
		fmt.Fprintln(os.Stderr, "workspace-server: a second signal ended it at once")
		os.Exit(1)
	}()
	if err := run(ctx, os.Args[1:], os.Getenv, streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "workspace-server:", indent(err.Error()))
		os.Exit(exitCode(err))
	}
}

// indent indents the further lines of an error.
func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n  ") }

// A verb is one or two words. Flags follow if it has any.
type verb struct {
	name, help string
	flags      bool
	run        func(ctx context.Context, cfg config.Config, args []string, getenv func(string) string, s streams) error
}

func verbs() []verb {
	return []verb{
		{"serve", "serve the API until SIGTERM (the default)", false, serveAPI},
		{"migrate", "bring the database's schema up to date, and exit", false, migrateOnly},
		{"token create", "make a token in the database and print it; -h lists the flags", true, createToken},
		{"secrets rotate", "seal all secrets with a new key, and forget the old keys", false, rotateSecrets},
		{"secrets adopt", "after the database's key was lost: seal with this server's key from now on", false, adoptKey},
		{"healthcheck", "ask the server at LISTEN_ADDR whether it is ready; exit with 1 if it is not", false, healthcheck},
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, s streams) error {
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "ws":
		return workspaces(ctx, args, getenv, s)
	case "agent":
		return runAgent(ctx, args, getenv, s)
	case "keeper":
		return processes.RunKeeper(args)
	case "-h", "-help", "--help", "help":
		_, err := io.WriteString(s.out, help())
		return errors.Join(err, noMore(name, args))
	case "version", "-version", "--version":
		if err := noMore(name, args); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, build())
		return err
	}
	for _, v := range verbs() {
		first, second, two := strings.Cut(v.name, " ")
		if first != name || two && (len(args) == 0 || args[0] != second) {
			continue
		}
		if two {
			args = args[1:]
		}
		if !v.flags {
			if err := noMore(v.name, args); err != nil {
				return err
			}
		}
		cfg, err := config.Load(getenv)
		if err != nil {
			return err
		}
		return v.run(ctx, cfg, args, getenv, s)
	}
	return fmt.Errorf("unknown verb %q: workspace-server -h lists the verbs", strings.Join(append([]string{name}, args...), " "))
}

func noMore(name string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q after %s: settings come from the environment (workspace-server -h)", args[0], name)
}

func help() string {
	var b strings.Builder
	b.WriteString("workspace-server creates, runs and watches agent workspaces.\n\nUsage: workspace-server [verb]\n\n")
	for _, v := range append(verbs(),
		verb{name: "ws", help: "use a server: list, create, follow and more; 'ws -h' lists all"},
		verb{name: "agent", help: "run the reference agent of one workspace; servers start it"},
		verb{name: "keeper", help: "start and watch one agent as a process; only the server runs it"},
		verb{name: "version", help: "print the build's version"}) {
		fmt.Fprintf(&b, "  %-14s %s\n", v.name, v.help)
	}
	b.WriteString("\nSettings are environment variables; an empty one counts as unset:\n\n")
	b.WriteString(config.Table())
	return b.String()
}

func logger(cfg config.Config, s streams) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if !cfg.Readable() {
		return slog.New(slog.NewJSONHandler(s.err, opts))
	}
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().Format("15:04:05.000"))
		}
		return a
	}
	return slog.New(slog.NewTextHandler(s.err, opts))
}
