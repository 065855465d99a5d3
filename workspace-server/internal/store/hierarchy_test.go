package store_test

import (
	"database/sql"
	"encoding/json"
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

// forest makes workspaces by the paths of their names, parents first, and
// returns their ids by name.
func forest(t *testing.T, s *store.Store, paths ...string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for i, path := range paths {
		names := strings.Split(path, "/")
		spec := workspace.Spec{Name: names[len(names)-1], Labels: workspace.Labels{"path": path}}
		if len(names) > 1 {
			spec.Parent = ids[names[len(names)-2]]
		}
		w, err := workspace.New(spec, time.UnixMilli(int64(1000+i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), w, workspace.Request{}); err != nil {
			t.Fatalf("Create %s = %v", path, err)
		}
		ids[spec.Name] = w.ID
	}
	return ids
}

// told returns the events after a number as "type name parent's name revision".
func told(t *testing.T, s *store.Store, after int64, ids map[string]string) []string {
	t.Helper()
	names := map[string]string{"": "-"}
	for name, id := range ids {
		names[id] = name
	}
	events, err := s.Events(t.Context(), "", after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range events {
		var w workspace.Workspace
		if err := json.Unmarshal(e.Data, &w); err != nil || w.ID != e.Workspace {
			t.Fatalf("event %+v: %v", e, err)
		}
		all = append(all, fmt.Sprintf("%s %s %s %d", e.Type, w.Name, names[w.Parent], w.Revision))
	}
	return all
}

func TestCreateBelow(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		var path []string
		for i := range workspace.MaxDepth {
			path = append(path, fmt.Sprint(i))
		}
		var paths []string
		for i := range path {
			paths = append(paths, strings.Join(path[:i+1], "/"))
		}
		ids := forest(t, s, paths...)
		deepest := ids[path[len(path)-1]]
		got, err := s.Get(ctx, deepest)
		if err != nil || got.Parent != ids[path[len(path)-2]] || got.Labels["path"] != strings.Join(path, "/") {
			t.Errorf("Get(%s) = %+v, %v, want its parent and labels", deepest, got, err)
		}

		tests := []struct {
			parent string
			kind   workspace.Kind
			want   string
		}{
			{deepest, workspace.Conflict, "at most 8 levels"},
			{"ws_missing", workspace.Invalid, `There is no workspace "ws_missing" to be the parent.`},
		}
		for i, tt := range tests {
			w := newWorkspace(t, "x")
			w.Parent = tt.parent
			req := workspace.Request{Key: fmt.Sprint(i), Fingerprint: "f"}
			if _, err := s.Create(ctx, w, req); workspace.KindOf(err) != tt.kind || !strings.Contains(workspace.Message(err), tt.want) {
				t.Errorf("Create below %s = %v (%s), want %s with %q", tt.parent, err, workspace.KindOf(err), tt.kind, tt.want)
			}
			if _, found, err := s.Replay(ctx, req); found || err != nil {
				t.Errorf("Replay of a refused create = %t, %v, want nothing", found, err)
			}
		}
		if last, err := s.LastEvent(ctx); err != nil || last != workspace.MaxDepth {
			t.Errorf("LastEvent() = %d, %v, want %d: a refusal writes no event", last, err, workspace.MaxDepth)
		}
	})
}

func TestDeleteParent(t *testing.T) {
	const deleted, updated = workspace.EventDeleted, workspace.EventUpdated
	tests := []struct {
		id       string
		children workspace.Children
		want     []string // events
		refusal  string
	}{
		{"b", workspace.Refuse, nil, "has children (2). Delete or move them first"},
		{"f", workspace.Refuse, []string{deleted + " f - 1"}, ""},
		{"d", workspace.Orphan, []string{deleted + " d b 1"}, ""},
		{"b", workspace.Cascade, []string{deleted + " e c 1", deleted + " c b 1", deleted + " d b 1", deleted + " b a 1"}, ""},
		{"b", workspace.Orphan, []string{updated + " c - 2", updated + " d - 2", deleted + " b a 1"}, ""},
		{"a", workspace.Cascade, []string{deleted + " e c 1", deleted + " c b 1", deleted + " d b 1", deleted + " b a 1", deleted + " a - 1"}, ""},
	}
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		var woken []int64
		s := store.New(database.Migrated(t), func(seq int64) { woken = append(woken, seq) })
		for _, tt := range tests {
			ids := forest(t, s, "a", "a/b", "a/b/c", "a/b/d", "a/b/c/e", "f")
			before, err := s.LastEvent(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			woken = nil
			err = s.Delete(t.Context(), ids[tt.id], tt.children, false, nil)
			call := fmt.Sprintf("Delete(%s, %s)", tt.id, tt.children)
			if tt.refusal != "" {
				if workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), tt.refusal) {
					t.Errorf("%s = %v, want Conflict with %q", call, err, tt.refusal)
				}
			} else if err != nil {
				t.Errorf("%s = %v", call, err)
			}
			if got := told(t, s, before, ids); !slices.Equal(got, tt.want) {
				t.Errorf("%s tells %q, want %q", call, got, tt.want)
			}
			if len(tt.want) > 0 && !slices.Equal(woken, []int64{before + int64(len(tt.want))}) {
				t.Errorf("%s: committed was called with %v, want the last event once", call, woken)
			}
		}
	})
}

// A child that is made while its parent is deleted has a parent, or is not made.
func TestCreateWhileTheParentGoes(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		for round := range 20 {
			parent := forest(t, stores[0], "parent")["parent"]
			child := newWorkspace(t, "child")
			child.Parent = parent
			createErr, deleteErr := atOnce(
				func() error { _, err := stores[0].Create(ctx, child, workspace.Request{}); return err },
				func() error { return stores[1].Delete(ctx, parent, workspace.Refuse, false, nil) },
			)
			switch {
			case createErr == nil && workspace.KindOf(deleteErr) == workspace.Conflict:
			case workspace.KindOf(createErr) == workspace.Invalid && deleteErr == nil:
			default:
				t.Fatalf("round %d: Create = %v, Delete = %v, want one of them refused", round, createErr, deleteErr)
			}
		}
	})
}

// atOnce runs two calls at the same time.
func atOnce(a, b func() error) (errA, errB error) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	wg.Go(func() { <-start; errA = a() })
	wg.Go(func() { <-start; errB = b() })
	close(start)
	wg.Wait()
	return errA, errB
}

// A server from before hierarchies leaves no child without its parent.
func TestReferencesHold(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		s := newStore(t, db)
		ids := forest(t, s, "a", "a/b")
		err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `DELETE FROM workspaces WHERE id = $1`, ids["a"])
			return err
		})
		if err == nil {
			t.Error("a parent can be deleted below its child")
		}
	})
}

// What an older server answered to a request has no labels.
func TestReplayOfAnOldAnswer(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(),
				`INSERT INTO requests (id, fingerprint, answer, created) VALUES ('k', 'f', '{"id":"ws_1"}', 1)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		got, found, err := newStore(t, db).Replay(t.Context(), workspace.Request{Key: "k", Fingerprint: "f"})
		if err != nil || !found || got.ID != "ws_1" || got.Labels == nil {
			t.Errorf("Replay = %+v, %t, %v, want ws_1 with labels that are not nil", got, found, err)
		}
	})
}
