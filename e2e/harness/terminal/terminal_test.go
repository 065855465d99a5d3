package terminal

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	tests := []struct{ written, want string }{
		{"one\ntwo\n", "one|two"},
		{"no end", ""},
		{"\x1b[32mgreen\x1b[0m\r\n", "green"},
		{"platform-1  | serving\n", "serving"},
		{"ok  pkg | x\n", "ok  pkg | x"},
	}
	for _, tt := range tests {
		var l Log
		for _, b := range []byte(tt.written) { // however it is cut
			fmt.Fprintf(&l, "%c", b)
		}
		var got []string
		for _, line := range l.Since(0) {
			got = append(got, line.Text)
		}
		if g := strings.Join(got, "|"); g != tt.want {
			t.Errorf("Write(%q): lines = %q, want %q", tt.written, g, tt.want)
		}
	}
}

func TestWait(t *testing.T) {
	var l Log
	fmt.Fprintln(&l, "ready 1")
	place := l.End()
	go fmt.Fprint(&l, "other\nready 2\n")
	line, err := l.Wait(t.Context(), place, regexp.MustCompile("ready"))
	if err != nil || line.Text != "ready 2" {
		t.Errorf("Wait(%q) = %q, %v, want ready 2", "ready", line.Text, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Wait(ctx, place, regexp.MustCompile("never")); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("Wait(%q) = %v, want an error with the lines printed", "never", err)
	}
	if n := l.Count(0, regexp.MustCompile("ready")); n != 2 {
		t.Errorf("Count(%q) = %d, want 2", "ready", n)
	}
}
