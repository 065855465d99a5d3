// Sizes measures workspace-server at the sizes that it is made for: two servers
// on one Postgres, full of workspaces and events, with many clients. It asserts
// no time; a wrong answer, or an event that is missing or came twice, ends it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"time"

	"e2e/harness/engine"
	"e2e/harness/janitor"
)

func main() { janitor.Program("sizes", run) }

// Sizes say what is measured.
type sizes struct {
	workspaces, revisions int
	agents, streams       int
	requests, writes      int
	pace, beats           time.Duration
}

func read(args []string) (sizes, error) {
	var s sizes
	f := flag.NewFlagSet("sizes", flag.ContinueOnError)
	f.IntVar(&s.workspaces, "workspaces", 10_000, "how many workspaces there are")
	f.IntVar(&s.revisions, "revisions", 100, "how many events there are of each")
	f.IntVar(&s.agents, "agents", 200, "how many agents send heartbeats")
	f.IntVar(&s.streams, "streams", 200, "how many clients follow the events")
	f.IntVar(&s.requests, "requests", 1000, "how many times each list is requested")
	f.IntVar(&s.writes, "writes", 300, "how many events are delivered")
	f.DurationVar(&s.pace, "pace", 100*time.Millisecond, "the time between two events")
	f.DurationVar(&s.beats, "beats", 20*time.Second, "how long heartbeats are sent")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.workspaces < 1000 || s.revisions < 5:
		return s, errors.New("-workspaces must be at least 1000, -revisions at least 5")
	case s.agents < 1 || s.agents > s.workspaces/10:
		return s, errors.New("-agents must be at least 1, and at most a tenth of -workspaces")
	case s.streams < 2 || s.requests < 2 || s.writes < 1 || s.pace < 0 || s.beats <= 0:
		return s, errors.New("-streams and -requests must be at least 2, -writes at least 1, -pace not negative, -beats above 0")
	}
	return s, nil
}

func run(ctx context.Context, args []string, out io.Writer, j *janitor.Janitor) error {
	s, err := read(args)
	if err != nil {
		return err
	}
	if missing := engine.Missing(); missing != "" {
		return errors.New("this needs Docker, for Postgres: " + missing)
	}
	fmt.Fprintln(out, "starting Postgres and two servers")
	p, err := newPlatform(ctx, j)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "filling in %d workspaces and %d events\n", s.workspaces, s.workspaces*s.revisions)
	if err := p.fill(ctx, s); err != nil {
		return err
	}
	all, err := p.check(ctx, s)
	if err != nil {
		return err
	}
	a, err := p.follow(ctx, s.streams)
	if err != nil {
		return err
	}
	defer a.close()
	fmt.Fprintf(out, "measuring, with %d streams open\n", s.streams)
	lists, err := p.measureLists(ctx, all, s.requests)
	if err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	delivery, err := p.measureEvents(ctx, a, s)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	beats, err := p.measureBeats(ctx, all, s)
	if err != nil {
		return fmt.Errorf("heartbeats: %w", err)
	}
	select {
	case err := <-a.failed:
		return fmt.Errorf("streams: %w", err)
	default:
	}
	fmt.Fprintf(out, "\n%d workspaces, %d events, %d streams, 2 servers, Postgres and the clients on %d cores; milliseconds\n",
		s.workspaces, s.workspaces*s.revisions, s.streams, runtime.NumCPU())
	draw(out, "list, 50 at once", lists)
	draw(out, "event, from when its cause is sent", delivery)
	draw(out, fmt.Sprintf("heartbeat, %d agents", s.agents), []row{beats})
	return nil
}
