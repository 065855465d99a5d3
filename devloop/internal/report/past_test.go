package report

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestSince(t *testing.T) {
	p := New(io.Discard, "/", "/")
	_, _ = p.Write([]byte("one\n"))
	long := "gone" + strings.Repeat("x", kept)
	tests := []struct {
		print string
		place int64
		want  string
	}{
		{"", 0, "one\n"},
		{"two\n", 4, "two\n"},
		{"", 0, "one\ntwo\n"},
		{long, 8, long[4:]},
	}
	for _, tt := range tests {
		_, _ = p.Write([]byte(tt.print))
		if got, _ := p.Since(t.Context(), tt.place); got != tt.want {
			t.Errorf("Since(%d) = %.20q (%d bytes), want %.20q (%d bytes)", tt.place, got, len(got), tt.want, len(tt.want))
		}
	}
}

func TestSinceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(io.Discard, "/", "/")
		place := p.End()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := make(chan string, 3)
		for range cap(got) {
			go func() {
				text, _ := p.Since(ctx, place)
				got <- text
			}()
		}
		synctest.Wait()
		if len(got) > 0 {
			t.Errorf("Since(%d) = %q before anything was printed", place, <-got)
		}
		p.Notice("now")
		for range cap(got) {
			if text := <-got; text != "now\n" {
				t.Errorf("Since(%d) = %q, want what was printed", place, text)
			}
		}
		go func() {
			synctest.Wait()
			cancel()
		}()
		if text, end := p.Since(ctx, 4); text != "" || end != 4 {
			t.Errorf("Since(4) until its context is done = %q, %d; want nothing and the same place", text, end)
		}
	})
}
