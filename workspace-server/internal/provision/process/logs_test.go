//go:build unix

package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written returns the directory of a generation whose keeper is this test, and
// the file that is locked until that is closed.
func written(t *testing.T) (dir string, alive *os.File) {
	t.Helper()
	dir = generationDir(t.TempDir(), 1)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	alive, err := os.Create(filepath.Join(dir, aliveFile))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := tryLock(alive, true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() { _ = alive.Close() })
	return dir, alive
}

func writeLog(t *testing.T, dir string, limit int64, parts ...string) {
	t.Helper()
	l, err := openLog(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if n, err := io.WriteString(l, part); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTail(t *testing.T) {
	tests := []struct {
		parts []string
		limit int64
		tail  int
		want  string
	}{
		{nil, 100, -1, ""},
		{nil, 100, 5, ""},
		{[]string{"a\n", "b\n", "c\n"}, 100, -1, "a\nb\nc\n"},
		{[]string{"a\n", "b\n", "c\n"}, 100, 0, ""},
		{[]string{"a\n", "b\n", "c\n"}, 100, 2, "b\nc\n"},
		{[]string{"a\n", "b\n", "c\n"}, 100, 3, "a\nb\nc\n"},
		{[]string{"a\n", "b\n", "c\n"}, 100, 4, "a\nb\nc\n"},
		{[]string{"a\n", "b\n", "c"}, 100, 1, "c"},
		{[]string{"a\n", "b\n", "c"}, 100, 2, "b\nc"},
		{[]string{"\n", "\n", "\n"}, 100, 2, "\n\n"},
		{[]string{strings.Repeat("x", 200_000) + "\n", "b\n"}, 1 << 20, 1, "b\n"},
		{[]string{strings.Repeat("x\n", 200_000), "b\n"}, 1 << 20, 3, "x\nx\nb\n"},
		// In two files of at most six bytes each.
		{[]string{"one\n", "two\n", "tre\n"}, 12, -1, "two\ntre\n"},
		{[]string{"one\n", "two\n", "tre\n"}, 12, 2, "two\ntre\n"},
		{[]string{"one\n", "two\n", "tre\n"}, 12, 1, "tre\n"},
		{[]string{"a\nb\n", "c\nd\n"}, 12, 3, "b\nc\nd\n"},
		{[]string{"a\nb", "ig\nd\n"}, 12, 2, "big\nd\n"},
		{[]string{"a\nbig", "ger"}, 12, 1, "bigger"},
		{[]string{"a\nbig", "ger"}, 12, 0, ""},
		{[]string{"larger than a file may be\n", "b\n"}, 12, -1, "larger than a file may be\nb\n"},
	}
	for _, tt := range tests {
		dir, _ := written(t)
		writeLog(t, dir, tt.limit, tt.parts...)
		r, err := openLogs(t.Context(), dir, tt.tail, false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(got) != tt.want {
			t.Errorf("the last %d lines of %.20q with limit %d = %.40q, %v, want %.40q", tt.tail, tt.parts, tt.limit, got, err, tt.want)
		}
	}
}

// The log is bounded however much is written, and a follower reads all of it.
func TestLogIsBounded(t *testing.T) {
	const limit, lines = 1000, 2000
	dir, alive := written(t)
	l, err := openLog(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	r, err := openLogs(t.Context(), dir, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	read := bufio.NewReader(r)
	for i := range lines {
		want := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(l, want); err != nil {
			t.Fatal(err)
		}
		if got, err := read.ReadString('\n'); err != nil || got != want {
			t.Fatalf("a follower reads %q, %v, want %q", got, err, want)
		}
	}
	var size int64
	for _, name := range []string{logFile, olderLog} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > limit || size < limit/2 {
		t.Errorf("after %d lines the log has %d bytes, want at most %d, and not less than half of that", lines, size, limit)
	}
	if err := errors.Join(l.Close(), alive.Close()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(read); err != nil || len(rest) > 0 {
		t.Errorf("after the end there is %q, %v", rest, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// A reader that falls behind misses lines, but goes on with whole files.
func TestLogIsFasterThanItsReader(t *testing.T) {
	dir, alive := written(t)
	if _, err := openLogs(t.Context(), dir, 0, true); err == nil {
		t.Fatal("there is no log yet, and it can be opened")
	}
	writeLog(t, dir, 12, "one\n")
	r, err := openLogs(t.Context(), dir, -1, true)
	if err != nil {
		t.Fatal(err)
	}
	writeLog(t, dir, 12, "two\n", "tre\n", "for\n")
	if err := alive.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || string(got) != "one\ntre\nfor\n" {
		t.Errorf("a slow reader reads %q, %v, want what it had open and what is kept", got, err)
	}
}

// A log that cannot be written does not end the agent.
func TestLogCannotBeWritten(t *testing.T) {
	dir, _ := written(t)
	l, err := openLog(dir, 12)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := io.WriteString(l, "lost\n"); n != 5 || err != nil {
			t.Errorf("Write = %d, %v, want 5, nil", n, err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(l, "back\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, logFile)); err != nil || string(text) != "back\n" {
		t.Errorf("the log has %q, %v, want what was written since it can be", text, err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}
