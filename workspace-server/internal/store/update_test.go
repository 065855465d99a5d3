package store_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

func TestUpdate(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		var woken []int64
		s := store.New(database.Migrated(t), func(seq int64) { woken = append(woken, seq) })
		ids := forest(t, s, "a", "a/b", "a/b/c", "d", "d/e", "d/e/f", "d/e/f/g", "d/e/f/g/h", "d/e/f/g/h/i")
		woken = nil
		text := func(s string) *string { return &s }
		parent := func(name string) workspace.Patch { return workspace.Patch{Parent: text(ids[name])} }
		const updated = workspace.EventUpdated
		tests := []struct {
			call  string
			id    string
			patch workspace.Patch
			match workspace.Match
			want  string // the event; empty: none
			kind  workspace.Kind
			err   string
		}{
			{"name", "c", workspace.Patch{Name: text("c2")}, nil, updated + " c2 b 2", "", ""},
			{"the same name", "c", workspace.Patch{Name: text("c2")}, workspace.Match{2}, "", "", ""},
			{"an old revision", "c", workspace.Patch{Name: text("c3")}, workspace.Match{1}, "", workspace.Stale, "at revision 2"},
			{"an old revision, nothing new", "c", workspace.Patch{}, workspace.Match{1}, "", workspace.Stale, "at revision 2"},
			{"one of two revisions", "c", workspace.Patch{Name: text("c")}, workspace.Match{1, 2}, updated + " c b 3", "", ""},
			{"all at once", "c", workspace.Patch{Name: text("z"), Parent: text(ids["a"]), NoLabels: true}, nil, updated + " z a 4", "", ""},
			{"to a root", "c", workspace.Patch{Parent: new(string)}, nil, updated + " z - 5", "", ""},
			{"below itself", "a", parent("a"), nil, "", workspace.Conflict, "cannot be its own parent"},
			{"below its child", "a", parent("b"), nil, "", workspace.Conflict, "cannot become its parent"},
			{"below its descendant", "d", parent("i"), nil, "", workspace.Conflict, "cannot become its parent"},
			{"too deep with what is below", "a", parent("i"), nil, updated + " a i 2", "", ""},
			{"too deep", "c", parent("b"), nil, "", workspace.Conflict, "there would be 9"},
			{"nowhere", "c", workspace.Patch{Parent: text("ws_missing")}, nil, "", workspace.Invalid, "to be the parent"},
			{"an invalid name", "c", workspace.Patch{Name: new(string)}, nil, "", workspace.Invalid, "The name is required"},
			{"of nothing", "missing", workspace.Patch{}, nil, "", workspace.NotFound, "There is no workspace"},
		}
		for _, tt := range tests {
			before, err := s.LastEvent(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Update(ctx, ids[tt.id], tt.patch, tt.match)
			if tt.err == "" && err != nil ||
				tt.err != "" && (workspace.KindOf(err) != tt.kind || !strings.Contains(workspace.Message(err), tt.err)) {
				t.Errorf("Update: %s = error %v (%s), want %s with %q", tt.call, err, workspace.KindOf(err), tt.kind, tt.err)
			}
			if stored, getErr := s.Get(ctx, ids[tt.id]); err == nil && (getErr != nil || !reflect.DeepEqual(got, stored)) {
				t.Errorf("Update: %s = %+v, but %+v, %v is stored", tt.call, got, stored, getErr)
			}
			events := told(t, s, before, ids)
			if tt.want == "" && len(events) > 0 || tt.want != "" && !slices.Equal(events, []string{tt.want}) {
				t.Errorf("Update: %s tells %q, want %q", tt.call, events, tt.want)
			}
		}
		if len(woken) != 5 {
			t.Errorf("committed was called with %v, want 5 numbers", woken)
		}
	})
}

// Two moves that each are allowed and together make a circle: one is refused.
func TestMovesAtOnceMakeNoCycle(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		for round := range 20 {
			ids := forest(t, stores[0], "a", "a/b", "c", "c/d")
			move := func(s *store.Store, id, parent string) func() error {
				to := ids[parent]
				return func() error {
					_, err := s.Update(ctx, ids[id], workspace.Patch{Parent: &to}, nil)
					return err
				}
			}
			first, second := atOnce(move(stores[0], "a", "d"), move(stores[1], "c", "b"))
			if (first == nil) == (second == nil) {
				t.Fatalf("round %d: two moves that make a circle = %v, %v, want one of them refused", round, first, second)
			}
			for _, err := range []error{first, second} {
				if err != nil && workspace.KindOf(err) != workspace.Conflict {
					t.Errorf("round %d: the refused move = %v, want Conflict", round, err)
				}
			}
			root := map[bool]string{true: "c", false: "a"}[first == nil]
			if err := stores[0].Delete(ctx, ids[root], workspace.Cascade, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		if left, _, err := stores[0].List(ctx, workspace.Filter{}, workspace.Cursor{}, 10); err != nil || len(left) > 0 {
			t.Errorf("after each tree was deleted from its root there are %v, %v, want none", left, err)
		}
	})
}

// Two moves that together make a tree too deep: one is refused.
func TestMovesAtOnceStayWithinDepth(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		for round := range 10 {
			// Two pairs fit below four; three would not.
			ids := forest(t, stores[0], "a", "a/b", "a/b/c", "a/b/c/d", "e", "e/f", "g", "g/h", "g/h/i")
			move := func(s *store.Store, id, parent string) func() error {
				to := ids[parent]
				return func() error {
					_, err := s.Update(ctx, ids[id], workspace.Patch{Parent: &to}, nil)
					return err
				}
			}
			first, second := atOnce(move(stores[0], "e", "d"), move(stores[1], "g", "f"))
			if (first == nil) == (second == nil) {
				t.Fatalf("round %d: moves to a depth of 9 = %v, %v, want one of them refused", round, first, second)
			}
		}
	})
}

// Patches of different labels do not undo each other, and of patches for one
// revision one is made.
func TestUpdatesAtOnce(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		const writers = 12
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		ids := forest(t, stores[0], "a", "b")
		var wg sync.WaitGroup
		made := make(chan string, writers)
		for i := range writers {
			s := stores[i%2]
			wg.Go(func() {
				value := fmt.Sprint(i)
				if _, err := s.Update(ctx, ids["a"], workspace.Patch{Labels: map[string]*string{value: &value}}, nil); err != nil {
					t.Errorf("Update = %v", err)
				}
			})
			wg.Go(func() {
				name := fmt.Sprint("name ", i)
				_, err := s.Update(ctx, ids["b"], workspace.Patch{Name: &name}, workspace.Match{1})
				if err == nil {
					made <- name
				} else if workspace.KindOf(err) != workspace.Stale {
					t.Errorf("Update of revision 1 = %v, want it made or Stale", err)
				}
			})
		}
		wg.Wait()
		close(made)
		a, errA := stores[0].Get(ctx, ids["a"])
		b, errB := stores[0].Get(ctx, ids["b"])
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		want := workspace.Labels{"path": "a"}
		for i := range writers {
			want[fmt.Sprint(i)] = fmt.Sprint(i)
		}
		if !maps.Equal(a.Labels, want) || a.Revision != 1+writers {
			t.Errorf("after patches of different labels there is %+v, want labels %v, each a revision", a, want)
		}
		if len(made) != 1 || b.Name != <-made || b.Revision != 2 {
			t.Errorf("after patches of revision 1 there is %+v, want one of them made", b)
		}
	})
}
