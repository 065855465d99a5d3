package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"workspace-server/internal/workspace"
)

// history is a database with the events from forgotten+1 to last, of two
// workspaces by turns, which counts how often it is read.
type history struct {
	takes time.Duration // a read

	mu              sync.Mutex
	forgotten, last int64
	reads           []string
	down            error
}

func (h *history) read(format string, args ...any) (forgotten, last int64, err error) {
	h.mu.Lock()
	h.reads = append(h.reads, fmt.Sprintf(format, args...))
	forgotten, last, err = h.forgotten, h.last, h.down
	h.mu.Unlock()
	time.Sleep(h.takes)
	return forgotten, last, err
}

// since returns the reads since the last call.
func (h *history) since() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	reads := h.reads
	h.reads = nil
	return reads
}

// happen adds events.
func (h *history) happen(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last += n
}

func (h *history) LastEvent(context.Context) (int64, error) {
	_, last, err := h.read("last")
	return last, err
}

func (h *history) Kept(context.Context, int64) error { return nil }

func (h *history) Events(_ context.Context, of string, after int64, limit int) ([]workspace.Event, error) {
	forgotten, last, err := h.read("events of %q after %d", of, after)
	if err != nil {
		return nil, err
	}
	if after == workspace.Oldest {
		after = forgotten
	}
	if after < forgotten {
		return nil, workspace.Errorf(workspace.Gone, "too late")
	}
	items := []workspace.Event{}
	for seq := after + 1; seq <= last && len(items) < limit; seq++ {
		if e := event(seq); of == "" || of == e.Workspace {
			items = append(items, e)
		}
	}
	return items, nil
}

func event(seq int64) workspace.Event {
	return workspace.Event{Seq: seq, Workspace: []string{"even", "odd"}[seq%2]}
}

// numbers returns the first and last number of events, and how many there are.
func numbers(events []workspace.Event) [3]int64 {
	if len(events) == 0 {
		return [3]int64{}
	}
	return [3]int64{events[0].Seq, events[len(events)-1].Seq, int64(len(events))}
}

// The calls follow one another.
func TestAfter(t *testing.T) {
	h := &history{forgotten: 100, last: 10_000}
	tail := NewTail(h)
	for _, c := range []struct {
		happens int64
		of      string
		after   int64
		want    [3]int64 // first, last, how many
		upTo    int64
		more    bool
		reads   []string
	}{
		// A workspace's reader that is far behind skips the events of others.
		{of: "odd", after: 1000, want: [3]int64{1001, 1399, 200}, upTo: 1399, more: true, reads: []string{"last", `events of "odd" after 1000`}},
		{of: "odd", after: 9700, want: [3]int64{9701, 9999, 150}, upTo: 10_000, reads: []string{"last", `events of "odd" after 9700`}},
		{of: "", after: workspace.Oldest, want: [3]int64{101, 300, 200}, upTo: 300, more: true, reads: []string{"last", `events of "" after -1`}},
		// What one reader reads is there for all.
		{after: 9900, want: [3]int64{9901, 10_000, 100}, upTo: 10_000, reads: []string{`events of "" after 9900`}},
		{after: 9900, want: [3]int64{9901, 10_000, 100}, upTo: 10_000},
		{after: 9999, want: [3]int64{10_000, 10_000, 1}, upTo: 10_000},
		{of: "even", after: 9900, want: [3]int64{9902, 10_000, 50}, upTo: 10_000},
		{of: "odd", after: 9999, upTo: 10_000},
		// Each reader asks the database whether there is more.
		{after: 10_000, upTo: 10_000, reads: []string{`events of "" after 10000`}},
		{after: 10_000, upTo: 10_000, reads: []string{`events of "" after 10000`}},
		{of: "odd", after: 10_000, upTo: 10_000, reads: []string{`events of "" after 10000`}},
		{happens: 1, of: "odd", after: 10_000, want: [3]int64{10_001, 10_001, 1}, upTo: 10_001, reads: []string{`events of "" after 10000`}},
		{after: 10_000, want: [3]int64{10_001, 10_001, 1}, upTo: 10_001},
		{after: 9900, want: [3]int64{9901, 10_001, 101}, upTo: 10_001},
		// Further back than what is in memory.
		{after: 9899, want: [3]int64{9900, 10_001, 102}, upTo: 10_001, reads: []string{`events of "" after 9899`}},
		{of: "even", after: 9899, want: [3]int64{9900, 10_000, 51}, upTo: 10_001, reads: []string{"last", `events of "even" after 9899`}},
		// Beyond it.
		{happens: 999, after: 10_500, want: [3]int64{10_501, 10_700, 200}, upTo: 10_700, more: true, reads: []string{`events of "" after 10500`}},
		{after: 10_500, want: [3]int64{10_501, 10_700, 200}, upTo: 10_700, more: true},
		{of: "even", after: 10_500, want: [3]int64{10_502, 10_700, 100}, upTo: 10_700, more: true},
		{after: 10_001, want: [3]int64{10_002, 10_201, 200}, upTo: 10_201, more: true, reads: []string{`events of "" after 10001`}},
		{of: "odd", after: 10_990, want: [3]int64{10_991, 10_999, 5}, upTo: 11_000, reads: []string{"last", `events of "" after 10990`}},
		{after: 10_995, want: [3]int64{10_996, 11_000, 5}, upTo: 11_000},
	} {
		call := fmt.Sprintf("After(%q, %d)", c.of, c.after)
		h.happen(c.happens)
		got, err := tail.After(t.Context(), c.of, c.after)
		if err != nil {
			t.Fatalf("%s: %v", call, err)
		}
		if n := numbers(got.Events); n != c.want || got.UpTo != c.upTo || got.More != c.more {
			t.Errorf("%s = %v up to %d, more: %t, want %v up to %d, more: %t", call, n, got.UpTo, got.More, c.want, c.upTo, c.more)
		}
		if reads := h.since(); !slices.Equal(reads, c.reads) {
			t.Errorf("%s reads %q, want %q", call, reads, c.reads)
		}
	}
	if _, err := tail.After(t.Context(), "", 50); workspace.KindOf(err) != workspace.Gone {
		t.Errorf("After of removed events: %v, want Gone", err)
	}
}

// A tail holds only so many events, without a gap.
func TestTailForgets(t *testing.T) {
	h := &history{}
	tail := NewTail(h)
	for range 30 {
		h.happen(atOnce / 2)
		if _, err := tail.After(t.Context(), "", h.last-atOnce/2); err != nil {
			t.Fatal(err)
		}
	}
	h.since()
	for after := h.last - held; after < h.last; after++ {
		got, err := tail.After(t.Context(), "", after)
		if err != nil || got.Events[0].Seq != after+1 {
			t.Fatalf("After(%d) = %v, %v, want it to begin with the next", after, numbers(got.Events), err)
		}
	}
	if reads := h.since(); len(reads) != 0 {
		t.Errorf("the newest %d events are read again: %q", held, reads)
	}
	if _, err := tail.After(t.Context(), "", h.last-held-1); err != nil || len(h.since()) != 1 {
		t.Errorf("an older one is not read from the database: %v", err)
	}
}

// However many readers wait for an event, the first of them reads it for all. No
// reader takes the result of a read that began before its own call.
func TestManyReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{takes: time.Second, last: 7}
		tail := NewTail(h)
		early := make(chan Batch, 1)
		go func() { b, _ := tail.After(t.Context(), "", 7); early <- b }()
		synctest.Wait() // it reads, and finds nothing
		h.happen(2)
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				b, err := tail.After(t.Context(), "", 7)
				if want := [3]int64{8, 9, 2}; err != nil || numbers(b.Events) != want {
					t.Errorf("After(7) = %v, %v, want %v", numbers(b.Events), err, want)
				}
			})
		}
		wg.Wait()
		if b := <-early; len(b.Events) != 0 {
			t.Errorf("a read from before has %v, want nothing", numbers(b.Events))
		}
		if reads := h.since(); len(reads) != 2 {
			t.Errorf("201 readers make %d reads, want 2: %q", len(reads), reads)
		}
	})
}

// A reader that waits for another's read may leave, and the next reader tries
// again what failed for the last.
func TestReadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		h := &history{takes: time.Minute, last: 1, down: down}
		tail := NewTail(h)
		first := make(chan error, 1)
		go func() { _, err := tail.After(t.Context(), "", 0); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tail.After(ctx, "", 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("After beside a slow read = %v, want its own deadline", err)
		}
		h.mu.Lock()
		h.down = nil
		h.mu.Unlock()
		b, err := tail.After(t.Context(), "", 0)
		if err != nil || len(b.Events) != 1 {
			t.Errorf("After a failed read = %v, %v, want the event", numbers(b.Events), err)
		}
		if err := <-first; !errors.Is(err, down) {
			t.Errorf("the first read = %v, want %v", err, down)
		}
	})
}
