// Forwarding measures what stands between a client and a server, by turns in one
// run: nothing, this loop's forwarding, a plain httputil.ReverseProxy, and nginx
// and HAProxy where they are installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"e2e/harness/janitor"
	"e2e/harness/stats"
)

func main() {
	// The server of all lanes is this program too.
	if len(os.Args) == 2 && os.Args[1] == serverRole {
		if err := server(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "forwarding:", err)
			os.Exit(1)
		}
		return
	}
	janitor.Program("forwarding", run)
}

// Settings say what is measured.
type settings struct {
	turns, clients    int
	turn              time.Duration
	size              int64
	requests, streams int
	bare              bool
}

func read(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("forwarding", flag.ContinueOnError)
	f.IntVar(&s.turns, "turns", 10, "how many turns each lane has")
	f.DurationVar(&s.turn, "turn", 2*time.Second, "how long a turn's small requests take")
	f.IntVar(&s.clients, "clients", 16, "how many clients send them, each on one connection")
	f.Int64Var(&s.size, "size", 1<<30, "how many bytes go down, and up, in a turn of the large bodies")
	f.IntVar(&s.requests, "requests", 100_000, "after how many requests memory is compared")
	f.IntVar(&s.streams, "streams", 1000, "how many streams are open at once then")
	f.BoolVar(&s.bare, "bare", false, "send small requests from clients that do nothing but write and read bytes, not from net/http's")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.turns < 1 || s.clients < 1 || s.turn <= 0 || s.size < 1 || s.requests < 1 || s.streams < 1:
		return s, errors.New("every number must be above 0")
	}
	return s, nil
}

// A track is a lane and what was measured in it.
type track struct {
	lane
	rates    []float64
	took     []time.Duration
	down, up []float64 // bytes a second
	memory   [4]int    // see remember
}

func run(ctx context.Context, args []string, out io.Writer, j *janitor.Janitor) error {
	s, err := read(args)
	if err != nil {
		return err
	}
	lanes, err := start(ctx, out, j)
	if err != nil {
		return err
	}
	tracks := make([]*track, len(lanes))
	for i, l := range lanes {
		tracks[i] = &track{lane: l}
	}
	fmt.Fprintf(out, "measuring %d turns in each of %d lanes\n", s.turns, len(lanes))
	for turn := range s.turns + 1 { // the first only warms up
		order := slices.Clone(tracks)
		if turn%2 == 1 {
			slices.Reverse(order)
		}
		for _, t := range order {
			if err := t.measure(ctx, s, turn > 0); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	for _, t := range tracks {
		if t.process == nil {
			continue
		}
		if err := t.remember(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	draw(out, tracks, s)
	return nil
}

// measure has a turn: small requests, then a large answer, then a large upload.
func (t *track) measure(ctx context.Context, s settings, counts bool) error {
	took, elapsed, err := small(ctx, t.addr, s, s.turn, 0)
	if err != nil {
		return fmt.Errorf("small requests: %w", err)
	}
	down, err := download(ctx, t.addr, s.size)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	up, err := upload(ctx, t.addr, s.size)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if counts {
		t.took = append(t.took, took...)
		t.rates = append(t.rates, float64(len(took))/elapsed.Seconds())
		t.down = append(t.down, float64(s.size)/down.Seconds())
		t.up = append(t.up, float64(s.size)/up.Seconds())
	}
	return nil
}

// remember measures memory: at first, after many requests, with many streams
// open, and with as many again after those ended. What it cannot carry stays 0.
func (t *track) remember(ctx context.Context, s settings) error {
	t.memory[0] = t.resident()
	if _, _, err := small(ctx, t.addr, s, 0, s.requests); err != nil {
		return err
	}
	t.memory[1] = t.resident()
	for i := 2; i < 4; i++ {
		held, err := openStreams(ctx, t.addr, s.streams)
		if err == nil {
			t.memory[i] = t.resident()
		}
		held.Close()
		if err != nil {
			return nil // it has no room for as many: haproxy keeps those that were left
		}
		if _, _, err := small(ctx, t.addr, s, 0, s.clients); err != nil {
			return err
		}
	}
	return nil
}

func draw(out io.Writer, tracks []*track, s settings) {
	direct, kind := tracks[0], "net/http"
	if s.bare {
		kind = "bare"
	}
	fmt.Fprintf(out, "\n%d %s clients on kept connections, an answer of 2 bytes, %d turns of %v by turns, on %d cores\n\n",
		s.clients, kind, s.turns, s.turn, runtime.NumCPU())
	fmt.Fprintf(out, "%-26s %10s %9s %9s %9s %9s %9s\n", "forwarding", "requests/s", "x direct", "p50 ms", "x direct", "p99 ms", "x direct")
	base := stats.Of(direct.took)
	for _, t := range tracks {
		got := stats.Of(t.took)
		fmt.Fprintf(out, "  %-24s %10.0f %9.2f %9.2f %9.2f %9.2f %9.2f\n", t.name, median(t.rates), median(t.rates)/median(direct.rates),
			milliseconds(got.Median), ratio(got.Median, base.Median), milliseconds(got.P99), ratio(got.P99, base.P99))
	}
	fmt.Fprintf(out, "\n%-26s %10s %9s %10s %9s\n", fmt.Sprintf("%d MB in one body", s.size>>20), "down MB/s", "x direct", "up MB/s", "x direct")
	for _, t := range tracks {
		fmt.Fprintf(out, "  %-24s %10.0f %9.2f %10.0f %9.2f\n", t.name, median(t.down)/1e6, median(t.down)/median(direct.down),
			median(t.up)/1e6, median(t.up)/median(direct.up))
	}
	fmt.Fprintf(out, "\n%-26s %10s %17s %17s %13s\n", "resident memory, MB", "before", fmt.Sprintf("%d requests", s.requests),
		fmt.Sprintf("%d streams", s.streams), "as many again")
	for _, t := range tracks {
		if t.process != nil {
			fmt.Fprintf(out, "  %-24s %10.1f %17.1f %17.1f %13.1f\n", t.name, megabytes(t.memory[0]), megabytes(t.memory[1]), megabytes(t.memory[2]), megabytes(t.memory[3]))
		}
	}
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func ratio(a, b time.Duration) float64     { return float64(a) / float64(max(b, 1)) }
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func megabytes(kilobytes int) float64      { return float64(kilobytes) / 1000 }
