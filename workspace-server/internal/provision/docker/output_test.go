package docker

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func logs(t *testing.T, h *host) {
	p := h.installation(t)
	i := start(t, p, spec(t, "w"))
	say := func(out, err string) {
		ask(t, i, http.MethodPost, "/log?"+url.Values{"out": {out}, "err": {err}}.Encode(), "")
	}
	// The engine does not have at once what the agent wrote, and the two outputs
	// reach it independently.
	arrive := func(line string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(logsOf(t, p, "w", -1), line+"\n"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the line %q never comes", line)
			}
		}
	}
	say("one", "two")
	// A line that is as long as the next comes in pieces, with room for another
	// between them.
	arrive("two")
	long := strings.Repeat("0123456789", 10_000)
	say(long, "")
	say("four", "")
	arrive("four")
	followed, err := p.Logs(t.Context(), "w", 1, true)
	if err != nil {
		t.Fatal(err)
	}
	all := "started with agent\none\ntwo\n" + long + "\nfour\n"
	// Lines of the two outputs may change places.
	tests := []struct {
		tail int
		want string
	}{{-1, all}, {100, all}, {0, ""}}
	for _, tt := range tests {
		if got := logsOf(t, p, "w", tt.tail); !slices.Equal(sorted(got), sorted(tt.want)) {
			t.Errorf("Logs(tail %d) = %.100q... of %d bytes, want %.100q... of %d", tt.tail, got, len(got), tt.want, len(tt.want))
		}
	}
	if got := logsOf(t, p, "w", 1); got != "four\n" {
		t.Errorf("Logs(tail 1) = %.100q... of %d bytes, want the last line", got, len(got))
	}

	// Following goes on to the end of the process.
	read := make(chan string)
	go func() {
		text, err := io.ReadAll(followed)
		if err != nil {
			t.Errorf("follow: %v", err)
		}
		read <- string(text)
	}()
	say("five", "six")
	arrive("six")
	if err := p.Stop(t.Context(), "w", time.Minute); err != nil {
		t.Errorf("Stop = %v", err)
	}
	got := <-read
	if !strings.HasSuffix(got, "terminated\n") || !strings.Contains(got, "five\n") || !strings.Contains(got, "six\n") || strings.Contains(got, "started") {
		t.Errorf("followed %.100q, want the last line from then on, and the rest", got)
	}
	if err := followed.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}

	// Following a process that has ended does not wait.
	ended, err := p.Logs(t.Context(), "w", 1, true)
	if err != nil {
		t.Fatal(err)
	}
	defer ended.Close()
	if text, err := io.ReadAll(ended); err != nil || string(text) != "terminated\n" {
		t.Errorf("followed %q, %v after the end", text, err)
	}

	// A reader, or its context, can end before the process does.
	i = start(t, p, spec(t, "v"))
	for _, how := range []string{"context", "close"} {
		ctx, cancel := context.WithCancel(t.Context())
		logs, err := p.Logs(ctx, "v", -1, true)
		if err != nil {
			t.Fatal(err)
		}
		stopped := context.AfterFunc(ctx, func() { logs.Close() })
		if how == "context" {
			stopped()
		}
		go func() {
			ask(t, i, http.MethodGet, "/env", "")
			cancel()
		}()
		if text, err := io.ReadAll(logs); err == nil {
			t.Errorf("%s: followed %q to the end of a process that runs", how, text)
		}
		cancel()
		logs.Close()
	}
}

func sorted(text string) []string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines
}
