package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

func newStore(t *testing.T, db *store.DB) *store.Store {
	t.Helper()
	return store.New(db, func(int64) {})
}

func newWorkspace(t *testing.T, name string) workspace.Workspace {
	t.Helper()
	w, err := workspace.New(workspace.Spec{Name: name}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestCreateGetDelete(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		var woken []int64
		s := store.New(database.Migrated(t), func(seq int64) { woken = append(woken, seq) })

		w, err := workspace.New(workspace.Spec{
			Name: "a \"name\" with '; -- 日本", Template: "go-service", Labels: workspace.Labels{"a": "", "b/c": "'"},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Create(ctx, w, workspace.Request{}); err != nil || !reflect.DeepEqual(got, w) {
			t.Fatalf("Create(%+v) = %+v, %v, want the same", w, got, err)
		}
		if got, err := s.Get(ctx, w.ID); err != nil || !reflect.DeepEqual(got, w) {
			t.Fatalf("Get(%s) = %+v, %v, want %+v", w.ID, got, err, w)
		}
		if _, err := s.Create(ctx, w, workspace.Request{}); workspace.KindOf(err) != workspace.Conflict {
			t.Errorf("Create of the same id = %v (%s), want Conflict", err, workspace.KindOf(err))
		}
		if err := s.Delete(ctx, w.ID, workspace.Refuse, false, nil); err != nil {
			t.Fatalf("Delete(%s) = %v", w.ID, err)
		}
		if _, err := s.Get(ctx, w.ID); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Get after Delete = %v, want NotFound", err)
		}
		if err := s.Delete(ctx, w.ID, workspace.Refuse, false, nil); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Delete after Delete = %v, want NotFound", err)
		}

		// The refused create and delete left no event and no gap.
		if want := []int64{1, 2}; !slices.Equal(woken, want) {
			t.Errorf("committed was called with %v, want %v", woken, want)
		}
		events, err := s.Events(ctx, "", 0, 10)
		if err != nil || len(events) != 2 || events[0].Type != workspace.EventCreated || events[1].Type != workspace.EventDeleted {
			t.Fatalf("Events(0) = %+v, %v, want created, deleted", events, err)
		}
		var inEvent workspace.Workspace
		if err := json.Unmarshal(events[1].Data, &inEvent); err != nil || !reflect.DeepEqual(inEvent, w) || events[1].Workspace != w.ID {
			t.Errorf("the deleted event holds %s, %v, want %+v", events[1].Data, err, w)
		}
		if last, err := s.LastEvent(ctx); err != nil || last != 2 {
			t.Errorf("LastEvent() = %d, %v, want 2", last, err)
		}
	})
}

func TestCreateIsRecognised(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		req := workspace.Request{Key: "k", Fingerprint: "f"}
		if _, found, err := s.Replay(ctx, req); found || err != nil {
			t.Fatalf("Replay of a new request = %t, %v, want false", found, err)
		}
		first, err := s.Create(ctx, newWorkspace(t, "a"), req)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, first.ID, workspace.Refuse, false, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Create(ctx, newWorkspace(t, "a"), req); err != nil || !reflect.DeepEqual(got, first) {
			t.Errorf("Create again = %+v, %v, want the first answer %+v", got, err, first)
		}
		if got, found, err := s.Replay(ctx, req); err != nil || !found || !reflect.DeepEqual(got, first) {
			t.Errorf("Replay = %+v, %t, %v, want %+v", got, found, err, first)
		}
		other := workspace.Request{Key: "k", Fingerprint: "g"}
		if _, err := s.Create(ctx, newWorkspace(t, "b"), other); workspace.KindOf(err) != workspace.Conflict {
			t.Errorf("Create of something else with the same key = %v, want Conflict", err)
		}
		if last, _ := s.LastEvent(ctx); last != 2 {
			t.Errorf("LastEvent() = %d, want 2: a replay changes nothing", last)
		}
	})
}

// Clients that send one request to several servers at once must get one workspace.
func TestCreateAtOnceIsOne(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		ids := make([]string, 16)
		var wg sync.WaitGroup
		for i := range ids {
			w := newWorkspace(t, "a")
			wg.Go(func() {
				got, err := stores[i%2].Create(t.Context(), w, workspace.Request{Key: "k", Fingerprint: "f"})
				if err != nil {
					t.Errorf("Create = %v", err)
				}
				ids[i] = got.ID
			})
		}
		wg.Wait()
		if slices.Sort(ids); ids[0] != ids[len(ids)-1] {
			t.Errorf("one request made %v, want one workspace", slices.Compact(ids))
		}
	})
}

// Two servers write under load; a reader that follows must see every event
// once and in order, with no number missing.
func TestEventsAreGapless(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		const writers, each = 8, 25
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		reader := newStore(t, database.Open(t))

		var wg sync.WaitGroup
		for i := range writers {
			s := stores[i%2]
			wg.Go(func() {
				for j := range each {
					w, err := workspace.New(workspace.Spec{Name: fmt.Sprint(i, j)}, time.Now())
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := s.Create(ctx, w, workspace.Request{}); err != nil {
						t.Errorf("Create = %v", err)
						return
					}
					if err := s.Delete(ctx, w.ID, workspace.Refuse, false, nil); err != nil {
						t.Errorf("Delete = %v", err)
						return
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()

		var after int64
		for finished := false; ; {
			events, err := reader.Events(ctx, "", after, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Seq != after+1 {
					t.Fatalf("event %d follows event %d", e.Seq, after)
				}
				after = e.Seq
			}
			if finished {
				break
			}
			select {
			case <-done:
				finished = true // read once more
			default:
			}
		}
		if want := int64(2 * writers * each); after != want {
			t.Errorf("the last event is %d, want %d", after, want)
		}
	})
}

func TestCanceledCallsFailAsUnavailable(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := newStore(t, database.Migrated(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, getErr := s.Get(ctx, "ws_1")
		_, createErr := s.Create(ctx, newWorkspace(t, "a"), workspace.Request{})
		for _, err := range []error{getErr, createErr} {
			if workspace.KindOf(err) != workspace.Unavailable || !errors.Is(err, context.Canceled) {
				t.Errorf("call with a canceled context = %v (%s), want Unavailable", err, workspace.KindOf(err))
			}
		}
	})
}

func TestClosedDatabaseIsAnError(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		s := newStore(t, db)
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()); workspace.KindOf(err) != workspace.Unavailable {
			t.Errorf("Ping after Close = %v, want Unavailable", err)
		}
		if _, _, err := s.List(t.Context(), workspace.Filter{}, workspace.Cursor{}, 1); workspace.KindOf(err) != workspace.Internal {
			t.Errorf("List after Close = %v, want Internal", err)
		}
	})
}

func TestOpenFails(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	tests := []struct {
		url, dir, want string
	}{
		{"postgres://u:hunter2@127.0.0.1:1/db?sslmode=nonsense", "", "sslmode"},
		{"postgres://u:hunter2%zz@h/db", "", "not a URL"},
	}
	for _, tt := range tests {
		_, err := store.Open(t.Context(), tt.url, tt.dir, log)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q, %q) = %v, want an error with %q and without the password", tt.url, tt.dir, err, tt.want)
		}
	}
}
