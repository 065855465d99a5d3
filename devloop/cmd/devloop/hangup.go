package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilHangup returns a context that also ends when no one can see any longer
// what this program prints: on SIGHUP, and when the terminal or the reader
// behind one of the files is gone. Who ignores SIGHUP, as nohup
// does, wants the program to outlive its terminal.
func untilHangup(ctx context.Context, files ...*os.File) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	// Go would end the program at the first write to a pipe without a reader.
	// But who asks for SIGPIPE gets it for every socket as well, and that a
	// client goes away before its answer means nothing: no one reads this channel.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
		for _, f := range files {
			awaitHangup(ctx, f, cancel)
		}
	}
	go func() {
		select {
		case <-signals: // later ones are dropped: a hangup may bring several
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		signal.Stop(signals)
		signal.Stop(pipes)
	}
}
