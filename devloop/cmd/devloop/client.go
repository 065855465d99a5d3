package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"devloop/internal/control"
	"devloop/internal/gobuild"
	"devloop/internal/process"
	"devloop/internal/report"
)

// ask sends a request to the loop that runs in this directory or above it.
func ask(ctx context.Context, getenv func(string) string, op string, args []string) (control.Reply, error) {
	dir, err := workingDirectory()
	if err != nil {
		return control.Reply{}, err
	}
	r := control.Request{Op: op, Dir: dir, Args: args}
	if op == control.Build || op == control.Run || op == control.Command {
		r.Env = os.Environ()
	}
	return control.Call(ctx, getenv, dir, r)
}

// workingDirectory returns where this program was called, without links: the
// directory's real name is what finds the loop.
func workingDirectory() (string, error) {
	dir, err := os.Getwd()
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	return dir, nil
}

// outcome turns a reply into what the command returns.
func outcome(r control.Reply) error {
	switch {
	case r.Error != "" && r.Code == 2: // the same as without a loop
		return &usageError{errors.New(r.Error)}
	case r.Error != "":
		return errors.New(r.Error)
	case r.Code != 0:
		return exitError(r.Code)
	}
	return nil
}

// build is air's cmd. The loop does the work and prints the result.
func build(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	if helpWanted(args) {
		fmt.Fprintln(std.out, "usage: devloop build [arguments of 'go build'], with -o FILE among them")
		return nil
	}
	reply, err := ask(ctx, getenv, control.Build, args)
	if errors.Is(err, control.ErrNoLoop) {
		return buildAlone(ctx, args, std)
	}
	if err != nil {
		return err
	}
	return outcome(reply)
}

// command stands in for an air command that does more than "devloop build": the
// loop runs it, unless only what it wrote itself has changed.
func command(ctx context.Context, args []string, getenv func(string) string, _ streams) error {
	if len(args) != 1 {
		return &usageError{errors.New("devloop command is for air under 'devloop up', which gives it one argument")}
	}
	reply, err := ask(ctx, getenv, control.Command, args)
	if err != nil {
		return err
	}
	return outcome(reply)
}

// buildAlone builds for an air that runs without a loop: one build at a time,
// of the sources as they are when its turn comes.
func buildAlone(ctx context.Context, args []string, std streams) error {
	dir, err := workingDirectory()
	if err != nil {
		return err
	}
	request := gobuild.Request{Dir: dir, Args: args, Env: os.Environ()}
	output, err := request.Output()
	if err != nil {
		return &usageError{err}
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return fmt.Errorf("make the output's directory: %w", err)
	}
	lock, err := os.Create(filepath.Join(filepath.Dir(output), ".build.lock"))
	if err != nil {
		return fmt.Errorf("lock the output: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock the output: %w", err)
	}
	starter := process.NewStarter()
	defer starter.Close()
	err = gobuild.Run(ctx, starter, request, nil)
	if failed, ok := errors.AsType[*gobuild.CompileError](err); ok {
		fmt.Fprintln(std.err, failed.Error())
		return exitError(1)
	}
	return err
}

// serve is air's entrypoint, "devloop run": the loop serves the binary, and this
// process idles, since air needs one to watch and to stop.
func serve(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	if helpWanted(args) {
		fmt.Fprintln(std.out, "usage: devloop run BINARY [its arguments]")
		return nil
	}
	if len(args) == 0 {
		return &usageError{errors.New("devloop run needs the binary to run")}
	}
	reply, err := ask(ctx, getenv, control.Run, args)
	if errors.Is(err, control.ErrNoLoop) {
		return become(args)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	return outcome(reply)
}

// renamed fails for a .air.toml that still says "devloop swap". Air starts the
// entrypoint, and the loop hides most of what air prints: tell the loop, too.
func renamed(ctx context.Context, _ []string, getenv func(string) string, _ streams) error {
	const advice = `the command "devloop swap" is now "devloop run": change it in the entrypoint of .air.toml`
	if _, err := ask(ctx, getenv, control.Notice, []string{advice}); err != nil && !errors.Is(err, control.ErrNoLoop) {
		return err
	}
	return &usageError{errors.New(advice)}
}

// become replaces this process by the binary, as if air had run it.
func become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("find the binary: %w", err)
	}
	if err := syscall.Exec(path, args, os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}

// notice prints a line in the loop's terminal, or here if there is none.
func notice(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	if helpWanted(args) || len(args) == 0 {
		fmt.Fprintln(std.out, "usage: devloop notice TEXT")
		return nil
	}
	reply, err := ask(ctx, getenv, control.Notice, args)
	if errors.Is(err, control.ErrNoLoop) {
		fmt.Fprintln(std.out, strings.Join(args, " "))
		return nil
	}
	if err != nil {
		return err
	}
	return outcome(reply)
}

// status prints the loop's state.
func status(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	f := flag.NewFlagSet("devloop status", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	line := f.Bool("line", false, "print in a line what serves, and in another why the latest edit does not")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(std.out, "usage: devloop status [-line]")
			return nil
		}
		return &usageError{err}
	}
	reply, err := ask(ctx, getenv, control.Status, nil)
	if err != nil {
		return err
	}
	if err := outcome(reply); err != nil {
		return err
	}
	if *line {
		_, err := fmt.Fprint(std.out, report.Now(reply.State.Announce, reply.State.PID, reply.State.Failure))
		return err
	}
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(reply.State)
}

// wait returns once a server serves.
func wait(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	const again = 50 * time.Millisecond // between looks for a loop that is not up yet
	f := flag.NewFlagSet("devloop wait", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	timeout := f.Duration("timeout", time.Minute, "how long to wait")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(std.out, "usage: devloop wait [-timeout 1m]")
			return nil
		}
		return &usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	for {
		reply, err := ask(ctx, getenv, control.Wait, nil)
		switch {
		case err == nil:
			return outcome(reply)
		case ctx.Err() != nil:
			return fmt.Errorf("nothing serves after %v: see the terminal of 'devloop up'", *timeout)
		case !errors.Is(err, control.ErrNoLoop) && !errors.Is(err, control.ErrEnded):
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
}

func helpWanted(args []string) bool {
	return len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help")
}
