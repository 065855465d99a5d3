// Bench measures, in one run and by turns, how long an edit takes until it is
// served: by this loop, by the bare build and start, and by air with its
// defaults; and how many requests are lost meanwhile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/load"
	"e2e/harness/stats"
)

func main() { janitor.Program("bench", run) }

// A lane is one way to get an edit served.
type lane interface {
	// edit makes an edit and returns how long it took until it was served.
	edit(context.Context) (time.Duration, error)
	// addr is where it serves without a pause, or empty.
	addr() string
	close(context.Context) error
}

// A track is a lane and what was measured in it.
type track struct {
	lane
	name     string
	floor    bool // what the others of its group are compared with
	took     []time.Duration
	requests int
	lost     int
}

// A group has lanes that can be compared: they build the same on the same system.
type group struct {
	name   string
	tracks []*track
}

func run(ctx context.Context, args []string, out io.Writer, j *janitor.Janitor) (err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := f.Int("rounds", 15, "how many edits are measured in each lane")
	warm := f.Int("warm", 2, "how many edits are made in each lane before that")
	containers := f.Bool("containers", true, "measure the loop in the container too, where there is an engine")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *warm < 0 {
		return errors.New("-rounds must be at least 1, -warm at least 0")
	}
	var groups []*group
	defer func() {
		for _, g := range groups {
			for _, t := range g.tracks {
				err = errors.Join(err, t.close(context.Background()))
			}
		}
	}()
	fmt.Fprintln(out, "starting the lanes; an image that is missing is built first")
	host, err := hostGroup(ctx, j)
	groups = append(groups, host)
	if err != nil {
		return err
	}
	switch missing := engine.Missing(); {
	case !*containers:
	case missing != "":
		fmt.Fprintf(out, "skipped the container lanes: %s\n", missing)
	default:
		g, err := containerGroup(ctx, j)
		groups = append(groups, g)
		if err != nil {
			return err
		}
	}
	for round := range *warm + *rounds {
		if round == *warm {
			fmt.Fprintf(out, "measuring %d edits in each lane\n", *rounds)
		}
		for _, g := range groups {
			for _, t := range g.tracks {
				if err := g.measure(ctx, t, round >= *warm); err != nil {
					return fmt.Errorf("%s, %s: %w", g.name, t.name, err)
				}
			}
		}
	}
	draw(out, groups, *rounds)
	return nil
}

// measure makes one edit while there is light load on the lane or, where nothing
// serves during the build, on a neighbour, so the load slows all lanes alike.
func (g *group) measure(ctx context.Context, t *track, counts bool) error {
	loaded := t.addr()
	for _, neighbour := range g.tracks {
		if loaded == "" {
			loaded = neighbour.addr()
		}
	}
	running, err := load.Start(ctx, load.Options{Addr: loaded, Light: true})
	if err != nil {
		return err
	}
	took, err := t.edit(ctx)
	report := running.Stop()
	if err != nil || !counts {
		return err
	}
	t.took = append(t.took, took)
	if loaded == t.addr() {
		t.requests += report.Total() + len(report.Failures)
		t.lost += len(report.Failures)
	}
	return nil
}

// draw prints the table and the bars.
func draw(out io.Writer, groups []*group, rounds int) {
	const width = 40
	var longest time.Duration
	for _, g := range groups {
		for _, t := range g.tracks {
			longest = max(longest, stats.Of(t.took).Median)
		}
	}
	fmt.Fprintf(out, "\nedit to serving, %d edits in each lane, by turns\n", rounds)
	for _, g := range groups {
		fmt.Fprintf(out, "\n%-34s %8s %8s %8s %8s   %s\n", g.name, "median", "p95", "max", "x floor", "requests lost")
		var floor time.Duration
		for _, t := range g.tracks {
			if t.floor {
				floor = stats.Of(t.took).Median
			}
		}
		for _, t := range g.tracks {
			s := stats.Of(t.took)
			lost := "-"
			if t.requests > 0 {
				lost = fmt.Sprintf("%d of %d", t.lost, t.requests)
			}
			fmt.Fprintf(out, "  %-32s %8s %8s %8s %8.2f   %s\n", t.name, stats.Seconds(s.Median), stats.Seconds(s.P95), stats.Seconds(s.Max),
				float64(s.Median)/float64(max(floor, 1)), lost)
		}
	}
	fmt.Fprintln(out)
	for _, g := range groups {
		for _, t := range g.tracks {
			if d, ok := t.lane.(*debuggedLane); ok {
				fmt.Fprintf(out, "%s: an editor attaches: %v\n", g.name, stats.Of(d.attaching))
			}
		}
	}
	fmt.Fprintln(out)
	for _, g := range groups {
		for _, t := range g.tracks {
			s := stats.Of(t.took)
			n := int(s.Median * width / max(longest, 1))
			fmt.Fprintf(out, "%-10s %-32s %s %s\n", g.name, t.name, bar(n), stats.Seconds(s.Median))
		}
	}
}

func bar(n int) string {
	b := make([]rune, max(n, 1))
	for i := range b {
		b[i] = '█'
	}
	return string(b)
}
