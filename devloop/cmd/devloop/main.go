// Devloop reloads a Go server without losing a request. "devloop up" holds the
// listening socket and runs air; air calls "devloop build" and "devloop run".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// streams are the standard streams of a command.
type streams struct {
	out, err io.Writer
}

// A usageError is a command line that cannot be carried out.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// An exitError ends the program with a code and nothing more to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, os.Args[1:], os.Getenv, streams{os.Stdout, os.Stderr})
	os.Exit(explain(err, os.Stderr))
}

// explain prints an error that says something, and returns the exit code.
func explain(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	fmt.Fprintln(stderr, "devloop:", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintln(stderr, "Run 'devloop help' for the commands.")
		return 2
	}
	return 1
}

const usage = `usage: devloop COMMAND

  init    write .air.toml for a Go module, and say how the loop is started
  up      hold the listening socket, run air, and reload the server at each edit
  build   for air's cmd: "go build" with its own arguments; the newest build wins
  run     for air's entrypoint: serve this binary in place of the current one, then idle
  notice  for air's rules: print a line in the loop's terminal
  status  print what serves, as JSON
  wait    wait until something serves
  follow  print what the loop prints, in another terminal
  relay   pass messages between a debugger and its clients, and show them

"devloop COMMAND -h" describes one.
`

func run(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	if len(args) == 0 {
		fmt.Fprint(std.err, usage)
		return exitError(2)
	}
	commands := map[string]func(context.Context, []string, func(string) string, streams) error{
		"init": initModule, "up": up, "build": build, "run": serve, "notice": notice, "status": status, "wait": wait, "follow": follow,
		"relay": passOn, "swap": renamed, "command": command,
	}
	switch name := args[0]; name {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(std.out, usage)
		return nil
	default:
		command, ok := commands[name]
		if !ok {
			return &usageError{fmt.Errorf("unknown command %q", name)}
		}
		return command(ctx, args[1:], getenv, std)
	}
}
