package janitor

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

// ErrTold is the error of a program that has already printed what is wrong.
var ErrTold = errors.New("the program has printed what is wrong")

// Program runs a program with a janitor, even if it is interrupted or killed.
// It is called by main, and returns if all went well.
func Program(name string, run func(ctx context.Context, args []string, out io.Writer, j *Janitor) error) {
	j, err := Main()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second signal ends the program at once
		err = errors.Join(run(ctx, os.Args[1:], os.Stdout, j), j.Close())
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	if !errors.Is(err, ErrTold) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	os.Exit(1)
}
