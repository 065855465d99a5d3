// Package stats sums up measured durations.
package stats

import (
	"fmt"
	"slices"
	"time"
)

// A Summary describes a series of measurements.
type Summary struct {
	N                     int
	Median, P95, P99, Max time.Duration
}

// Of sums up a series; the zero Summary stands for none.
func Of(series []time.Duration) Summary {
	if len(series) == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(series))
	return Summary{N: len(s), Median: quantile(s, 0.5), P95: quantile(s, 0.95), P99: quantile(s, 0.99), Max: s[len(s)-1]}
}

// quantile returns the smallest value that a share q of the sorted series does
// not exceed; the median of an even number is the mean of the middle two.
func quantile(sorted []time.Duration, q float64) time.Duration {
	n := len(sorted)
	if q == 0.5 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	i := int(q * float64(n))
	if float64(i) == q*float64(n) && i > 0 {
		i--
	}
	return sorted[min(i, n-1)]
}

func (s Summary) String() string {
	return fmt.Sprintf("n %d  median %s  p95 %s  max %s", s.N, Seconds(s.Median), Seconds(s.P95), Seconds(s.Max))
}

// Seconds prints a duration as seconds to the hundredth.
func Seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

// Milliseconds prints a duration as milliseconds to the tenth.
func Milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000)
}
