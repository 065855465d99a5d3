package report

import (
	"bytes"
	"testing"
	"time"
)

// TestBuilding shows a build that runs long.
func TestBuilding(t *testing.T) {
	builds := func(p *Printer) {
		for s := 4; s <= 150; s++ {
			p.Building(time.Duration(s)*time.Second, s, 200)
		}
	}
	tests := []struct {
		name     string
		terminal bool
		do       func(p *Printer)
		want     string
		kept     string // for terminals that come later
	}{
		{
			"on a terminal", true,
			func(p *Printer) {
				p.Building(4*time.Second, 3, 0)
				p.Building(5*time.Second, 3, 80)
				p.Notice("x")
				p.Building(6900*time.Millisecond, 80, 80)
				p.BuildEnded()
			},
			"\r\x1b[Kbuilding for 4s: package 3\r\x1b[Kbuilding for 5s: package 3 of 80, 77 left\r\x1b[Kx\n" +
				"\r\x1b[Kbuilding for 6s: package 80 of 80, then the linker\r\x1b[K",
			"x\n",
		},
		{
			"elsewhere", false, builds,
			"building for 4s: package 4 of 200, 196 left\nbuilding for 19s: package 19 of 200, 181 left\n" +
				"building for 38s: package 38 of 200, 162 left\nbuilding for 76s: package 76 of 200, 124 left\nbuilding for 136s: package 136 of 200, 64 left\n",
			"building for 4s: package 4 of 200, 196 left\nbuilding for 19s: package 19 of 200, 181 left\n" +
				"building for 38s: package 38 of 200, 162 left\nbuilding for 76s: package 76 of 200, 124 left\nbuilding for 136s: package 136 of 200, 64 left\n",
		},
		{
			"elsewhere, once for each build", false,
			func(p *Printer) {
				for range 2 {
					p.Building(4*time.Second, 0, 0)
					p.BuildEnded()
				}
			},
			"building for 4s\nbuilding for 4s\n", "building for 4s\nbuilding for 4s\n",
		},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		p := New(&out, "/", "/")
		p.progress.terminal = tt.terminal
		tt.do(p)
		if got := out.String(); got != tt.want {
			t.Errorf("%s: printed %q\nwant %q", tt.name, got, tt.want)
		}
		if got, _ := p.Since(t.Context(), 0); got != tt.kept {
			t.Errorf("%s: kept %q, want %q", tt.name, got, tt.kept)
		}
	}
}
