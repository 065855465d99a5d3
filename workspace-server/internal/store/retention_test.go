package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

// createAt makes a workspace, and so an event, at a time.
func createAt(t *testing.T, s *store.Store, at time.Time) workspace.Workspace {
	t.Helper()
	w, err := workspace.New(workspace.Spec{Name: "w"}, at)
	if err == nil {
		_, err = s.Create(t.Context(), w, workspace.Request{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func numbers(events []workspace.Event) []int64 {
	seqs := []int64{}
	for _, e := range events {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

func TestRemoveEvents(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		now := time.Now()
		var made []workspace.Workspace
		// The fifth is of a server whose clock is behind: it stays with those before it.
		for _, age := range []time.Duration{5, 4, 3, 1, 4, 0} {
			made = append(made, createAt(t, s, now.Add(-age*time.Hour)))
		}
		wantRemoved := func(before time.Time, limit, want int) {
			t.Helper()
			if n, err := s.RemoveEvents(ctx, before, limit); err != nil || n != want {
				t.Errorf("RemoveEvents(%v before now, %d) = %d, %v, want %d", now.Sub(before), limit, n, err, want)
			}
		}
		wantKept := func(after int64, id string, want ...int64) {
			t.Helper()
			got, err := s.Events(ctx, id, after, 10)
			if err != nil || !slices.Equal(numbers(got), append([]int64{}, want...)) {
				t.Errorf("Events(%q, %d) = %v, %v, want %v", id, after, numbers(got), err, want)
			}
			if err := s.Kept(ctx, after); err != nil {
				t.Errorf("Kept(%d) = %v", after, err)
			}
		}
		wantGone := func(after int64, id, detail string) {
			t.Helper()
			_, err := s.Events(ctx, id, after, 10)
			for _, err := range []error{err, s.Kept(ctx, after)} {
				if workspace.KindOf(err) != workspace.Gone || !strings.Contains(workspace.Message(err), detail) {
					t.Errorf("Events(%q, %d) or Kept = %v (%s), want Gone with %q", id, after, err, workspace.KindOf(err), detail)
				}
			}
		}
		wantRemoved(now.Add(-10*time.Hour), 10, 0)
		wantKept(0, "", 1, 2, 3, 4, 5, 6)
		wantRemoved(now.Add(-2*time.Hour), 2, 2)
		wantRemoved(now.Add(-2*time.Hour), 2, 1)
		wantRemoved(now.Add(-2*time.Hour), 2, 0)
		wantKept(workspace.Oldest, "", 4, 5, 6)
		wantKept(workspace.Oldest, made[5].ID, 6)
		wantKept(3, "", 4, 5, 6)
		wantKept(3, made[0].ID)
		wantKept(6, "")
		wantGone(2, "", "the oldest left, if any, is 4")
		wantGone(0, "", "continue after 6, the newest")
		wantGone(2, made[5].ID, "Events up to 3 were removed")

		// When all are gone, numbers go on where they were.
		wantRemoved(now.Add(time.Hour), 10, 3)
		wantKept(workspace.Oldest, "")
		wantKept(6, "")
		wantGone(5, "", "the oldest left, if any, is 7")
		if last, err := s.LastEvent(ctx); err != nil || last != 6 {
			t.Errorf("LastEvent() = %d, %v, want 6", last, err)
		}
		createAt(t, s, now)
		wantKept(6, "", 7)
		wantKept(workspace.Oldest, "", 7)
	})
}

// While servers write and sweep, a reader sees every number in order, or is
// told that it is too late.
func TestRemoveEventsWhileTheyAreRead(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		const total, batch = 40, 3
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		var wg sync.WaitGroup
		done := make(chan struct{})
		var removed [2]int
		for i, s := range stores {
			wg.Go(func() {
				for last := false; ; {
					select {
					case <-done:
						last = true // nothing comes after this
					default:
					}
					n, err := s.RemoveEvents(ctx, time.Now().Add(time.Hour), batch)
					if err != nil {
						t.Errorf("RemoveEvents = %v", err)
						return
					}
					removed[i] += n
					if last && n == 0 {
						return
					}
				}
			})
		}
		reader := newStore(t, database.Open(t))
		read := func() {
			for after := int64(0); after < total; {
				events, err := reader.Events(ctx, "", after, 3)
				if workspace.KindOf(err) == workspace.Gone {
					// It starts again, as a client does, after the number in the message.
					if _, err := fmt.Sscanf(workspace.Message(err), "Events up to %d", &after); err != nil {
						t.Error(err)
						return
					}
					continue
				}
				if err != nil {
					t.Errorf("Events = %v", err)
					return
				}
				for _, e := range events {
					if e.Seq != after+1 {
						t.Errorf("event %d follows event %d, and no error said that others are gone", e.Seq, after)
						return
					}
					after = e.Seq
				}
			}
		}
		wg.Go(read)
		for range total {
			createAt(t, stores[0], time.Now())
		}
		close(done)
		wg.Wait()
		if sum := removed[0] + removed[1]; sum != total {
			t.Errorf("two servers removed %v events, want %d in all, each once", removed, total)
		}
	})
}
