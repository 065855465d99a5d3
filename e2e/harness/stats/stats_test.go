package stats

import (
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	upTo := func(n int) (s []time.Duration) {
		for i := n; i > 0; i-- {
			s = append(s, time.Duration(i))
		}
		return s
	}
	tests := []struct {
		series []time.Duration
		want   Summary
	}{
		{nil, Summary{}},
		{upTo(1), Summary{1, 1, 1, 1, 1}},
		{upTo(3), Summary{3, 2, 3, 3, 3}},
		{[]time.Duration{10, 20}, Summary{2, 15, 20, 20, 20}},
		{upTo(20), Summary{20, 10, 19, 20, 20}},
		{upTo(100), Summary{100, 50, 95, 99, 100}},
	}
	for _, tt := range tests {
		if got := Of(tt.series); got != tt.want {
			t.Errorf("Of(%d values) = %+v, want %+v", len(tt.series), got, tt.want)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0.0",
		1240 * time.Microsecond: "1.2",
		1250 * time.Microsecond: "1.2",
		1260 * time.Microsecond: "1.3",
		3 * time.Second:         "3000.0",
	} {
		if got := Milliseconds(d); got != want {
			t.Errorf("Milliseconds(%v) = %s, want %s", d, got, want)
		}
	}
}
