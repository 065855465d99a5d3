// Package terminal keeps what a command prints, line by line and with the time
// of each line, and waits for lines.
package terminal

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A Line is one printed line.
type Line struct {
	At   time.Time
	Text string
}

// A Log is an io.Writer that keeps lines. Its zero value is empty and ready.
type Log struct {
	mu      sync.Mutex
	lines   []Line
	part    []byte
	changed chan struct{} // closed and replaced at each new line; nil if no one waits
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	before := len(l.lines)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			break
		}
		l.part = rest
		l.lines = append(l.lines, Line{time.Now(), plain(string(line))})
	}
	if len(l.lines) > before && l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return len(p), nil
}

// Close ends the last line if it has no end.
func (l *Log) Close() {
	l.mu.Lock()
	open := len(l.part) > 0
	l.mu.Unlock()
	if open {
		_, _ = l.Write([]byte("\n"))
	}
}

// A Place is a position between two lines.
type Place int

// End returns the place after the last line so far.
func (l *Log) End() Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Place(len(l.lines))
}

// Since returns the lines after a place.
func (l *Log) Since(p Place) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Line(nil), l.lines[p:]...)
}

// Wait waits for a line that matches, from a place on. Its error shows the
// lines that were printed instead.
func (l *Log) Wait(ctx context.Context, from Place, re *regexp.Regexp) (Line, error) {
	next := from
	for {
		l.mu.Lock()
		for ; int(next) < len(l.lines); next++ {
			if line := l.lines[next]; re.MatchString(line.Text) {
				l.mu.Unlock()
				return line, nil
			}
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Line{}, fmt.Errorf("no line matches %q (%w); printed were:\n%s", re, context.Cause(ctx), Format(l.Since(from)))
		}
	}
}

// Count returns how many lines after a place match.
func (l *Log) Count(from Place, re *regexp.Regexp) int {
	n := 0
	for _, line := range l.Since(from) {
		if re.MatchString(line.Text) {
			n++
		}
	}
	return n
}

// Around returns the lines printed within d of a moment.
func (l *Log) Around(at time.Time, d time.Duration) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Line
	for _, line := range l.lines {
		if line.At.Sub(at).Abs() <= d {
			out = append(out, line)
		}
	}
	return out
}

// Format prints lines with their times, the last ones if there are many.
func Format(lines []Line) string {
	const most = 200
	var b strings.Builder
	if n := len(lines) - most; n > 0 {
		fmt.Fprintf(&b, "    (%d lines before)\n", n)
		lines = lines[n:]
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "    %s  %s\n", line.At.Format("15:04:05.000"), line.Text)
	}
	return b.String()
}

var (
	colour = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	// service is what compose puts before each line of a container.
	service = regexp.MustCompile(`^[a-z][a-z0-9_-]*\s+\| `)
)

// plain removes what differs between terminals.
func plain(s string) string {
	s = colour.ReplaceAllString(strings.TrimRight(s, "\r"), "")
	return service.ReplaceAllString(s, "")
}
