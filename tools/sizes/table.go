package main

import (
	"fmt"
	"io"
	"time"

	"e2e/harness/stats"
)

// A row is one line of the table: what was measured, and what it ought to be.
type row struct {
	name   string
	took   []time.Duration
	target time.Duration // that 99 of 100 have to stay below; 0: none
	rate   float64       // a second; 0: not measured
	least  float64       // that the rate has to reach
}

// verdict says whether a target is met. One that is not met is not a failure.
func (r row) verdict() string {
	met := func(ok bool) string {
		if ok {
			return "met"
		}
		return "MISSED"
	}
	switch {
	case r.least > 0:
		return fmt.Sprintf("%.0f/s, at least %.0f/s: %s", r.rate, r.least, met(r.rate >= r.least))
	case r.target > 0:
		return fmt.Sprintf("p99 below %d: %s", r.target.Milliseconds(), met(stats.Of(r.took).P99 < r.target))
	}
	return ""
}

func draw(out io.Writer, title string, rows []row) {
	fmt.Fprintf(out, "\n%-46s %7s %7s %7s %7s %7s   target\n", title, "n", "p50", "p95", "p99", "max")
	for _, r := range rows {
		s := stats.Of(r.took)
		fmt.Fprintf(out, "  %-44s %7d %7s %7s %7s %7s   %s\n", r.name, s.N, stats.Milliseconds(s.Median),
			stats.Milliseconds(s.P95), stats.Milliseconds(s.P99), stats.Milliseconds(s.Max), r.verdict())
	}
}
