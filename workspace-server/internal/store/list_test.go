package store_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

// names lists the names of all that fit a filter, by pages of two, in the
// list's order.
func names(t *testing.T, s *store.Store, f workspace.Filter) []string {
	t.Helper()
	var all []string
	var cursor workspace.Cursor
	for {
		items, next, err := s.List(t.Context(), f, cursor, 2)
		if err != nil {
			t.Fatalf("List(%+v) = %v", f, err)
		}
		for _, w := range items {
			all = append(all, w.Name)
		}
		if next == (workspace.Cursor{}) {
			return all
		}
		cursor = next
	}
}

func TestListPages(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		if items, next, err := s.List(ctx, workspace.Filter{}, workspace.Cursor{}, 10); err != nil || items == nil || len(items) != 0 || next != (workspace.Cursor{}) {
			t.Errorf("List of nothing = %v, %v, %v, want an empty page", items, next, err)
		}
		var want []string
		for i := range 7 {
			w := newWorkspace(t, fmt.Sprint(i))
			w.Created = int64(1000 + i/3) // several share a millisecond
			if _, err := s.Create(ctx, w, workspace.Request{}); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%d %s", w.Created, w.ID))
		}
		slices.Sort(want)
		slices.Reverse(want)
		for limit := 1; limit <= 8; limit++ {
			var got []string
			var cursor workspace.Cursor
			for {
				items, next, err := s.List(ctx, workspace.Filter{}, cursor, limit)
				if err != nil || len(items) > limit {
					t.Fatalf("List(%v, %d) = %d items, %v", cursor, limit, len(items), err)
				}
				for _, w := range items {
					got = append(got, fmt.Sprintf("%d %s", w.Created, w.ID))
				}
				if next == (workspace.Cursor{}) {
					break
				}
				cursor = next
			}
			if !slices.Equal(got, want) {
				t.Errorf("List by pages of %d = %v, want %v", limit, got, want)
			}
		}
	})
}

func TestListFilters(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := newStore(t, database.Migrated(t))
		ids := map[string]string{}
		for i, made := range []struct {
			name, template, parent string
			labels                 workspace.Labels
		}{
			{"Alpha", "", "", workspace.Labels{"team": "blue", "gpu": ""}},
			{"beta 100%", "go-service", "", workspace.Labels{"team": "blue"}},
			{"gamma_ray", "go-service", "Alpha", workspace.Labels{"team": "red", "gpu": "a=b"}},
			{"ÉCLAIR Σίσυφος", "", "Alpha", workspace.Labels{"name": "team", "tier": "blue"}},
			{"gammaXray!", "", "gamma_ray", nil},
			{`back\slash`, "triage", "", workspace.Labels{"gpu": ""}},
		} {
			w, err := workspace.New(workspace.Spec{
				Name: made.name, Template: made.template, Parent: ids[made.parent], Labels: made.labels,
			}, time.UnixMilli(int64(1000-i))) // the list is in the order of the table
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Create(t.Context(), w, workspace.Request{}); err != nil {
				t.Fatal(err)
			}
			ids[made.name] = w.ID
		}
		all := []string{"Alpha", "beta 100%", "gamma_ray", "ÉCLAIR Σίσυφος", "gammaXray!", `back\slash`}
		label := func(texts ...string) (f workspace.Filter) {
			for _, text := range texts {
				f.Labels = append(f.Labels, workspace.ParseLabelFilter(text))
			}
			return f
		}
		text := func(q string) workspace.Filter { return workspace.Filter{Text: q} }
		tests := []struct {
			filter workspace.Filter
			want   []string
		}{
			{workspace.Filter{}, all},
			{workspace.Filter{State: workspace.StateStopped}, all},
			{workspace.Filter{State: "running"}, nil},
			{workspace.Filter{Template: "go-service"}, all[1:3]},
			{workspace.Filter{Parent: workspace.NoParent}, []string{all[0], all[1], all[5]}},
			{workspace.Filter{Parent: ids["Alpha"]}, all[2:4]},
			{workspace.Filter{Parent: ids["beta 100%"]}, nil},
			{label("gpu"), []string{all[0], all[2], all[5]}},
			{label("gpu="), []string{all[0], all[5]}},
			{label("gpu=a=b"), []string{all[2]}},
			{label("team=blue"), all[:2]},
			{label("team=blue", "gpu"), all[:1]},
			{label("team=blue", "team=red"), nil},
			{label("team=Blue"), nil},
			{label("blue"), nil},
			{text("aLPHa"), all[:1]},
			{text("%"), all[1:2]},
			{text("_"), all[2:3]},
			{text("a_r"), all[2:3]},
			{text("!"), all[4:5]},
			{text(`\`), all[5:]},
			{text("éclair σ"), all[3:4]},
			{text("ΣΊΣΥΦΟΣ"), all[3:4]},
			{text("'; --"), nil},
			{workspace.Filter{
				State: workspace.StateStopped, Template: "go-service", Parent: ids["Alpha"], Text: "GAMMA",
				Labels: label("team=red", "gpu").Labels,
			}, all[2:3]},
			{workspace.Filter{Template: "go-service", Parent: workspace.NoParent, Text: "gamma"}, nil},
		}
		for _, tt := range tests {
			if got := names(t, s, tt.filter); !slices.Equal(got, tt.want) {
				t.Errorf("List(%+v) = %q, want %q", tt.filter, got, tt.want)
			}
		}

		// What is patched is found by what it is now.
		name, value := "Renamed", "green"
		patch := workspace.Patch{Name: &name, Labels: map[string]*string{"team": &value, "gpu": nil}}
		if _, err := s.Update(t.Context(), ids["Alpha"], patch, nil); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			filter workspace.Filter
			want   []string
		}{
			{text("alpha"), nil},
			{text("renamed"), []string{"Renamed"}},
			{label("team=blue"), all[1:2]},
			{label("team=green"), []string{"Renamed"}},
			{label("gpu="), all[5:]},
		} {
			if got := names(t, s, tt.filter); !slices.Equal(got, tt.want) {
				t.Errorf("after a patch List(%+v) = %q, want %q", tt.filter, got, tt.want)
			}
		}
	})
}

// Pages stay in place while others make and delete workspaces.
func TestListPagesAreStable(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		ids := forest(t, s, "a", "b", "c", "d", "e")
		roots := workspace.Filter{Parent: workspace.NoParent}
		first, next, err := s.List(ctx, roots, workspace.Cursor{}, 2)
		if err != nil || len(first) != 2 || first[1].Name != "d" {
			t.Fatalf("the first page = %+v, %v, want e and d", first, err)
		}
		newest := newWorkspace(t, "newest")
		if _, err := s.Create(ctx, newest, workspace.Request{}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"d", "b"} { // one of them is what the cursor stands on
			if err := s.Delete(ctx, ids[name], workspace.Refuse, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		second, next, err := s.List(ctx, roots, next, 2)
		if err != nil || len(second) != 2 || second[0].Name != "c" || second[1].Name != "a" || next != (workspace.Cursor{}) {
			t.Errorf("the second page = %+v, %v, %v, want c and a, and no more", second, next, err)
		}
	})
}

// A row that an older server wrote is found by its name too.
func TestListFindsOldRows(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		s := newStore(t, db)
		err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `
				INSERT INTO workspaces (id, name, template, desired, state, reason, message, since, revision, created, updated)
				VALUES ('ws_old', 'An Old One', '', 'stopped', 'stopped', 'created', '', 1, 1, 1, 1)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, s, workspace.Filter{Text: "old one", Parent: workspace.NoParent}); !slices.Equal(got, []string{"An Old One"}) {
			t.Errorf("List of an old row = %q, want it", got)
		}
		if w, err := s.Get(t.Context(), "ws_old"); err != nil || w.Labels == nil || w.Parent != "" {
			t.Errorf("Get of an old row = %+v, %v, want a root without labels", w, err)
		}
	})
}

// The list of peers and the access rule agree about every two workspaces.
func TestPeersFollowTheRule(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		random := rand.New(rand.NewPCG(1, 2))
		var paths []string
		for i := range 40 {
			path := fmt.Sprint(i)
			if i > 3 {
				above := paths[random.IntN(len(paths))]
				if strings.Count(above, "/") < workspace.MaxDepth-1 {
					path = above + "/" + path
				}
			}
			paths = append(paths, path)
		}
		lines := map[string]workspace.Line{}
		for name, id := range forest(t, s, paths...) {
			line, err := s.Line(ctx, id)
			if err != nil || len(line) == 0 || line[0] != id {
				t.Fatalf("Line(%s) = %v, %v", id, line, err)
			}
			lines[name] = line
		}
		for name, line := range lines {
			var want []string
			for other, otherLine := range lines {
				if other != name && workspace.MayTalk(line, otherLine) {
					want = append(want, other)
				}
			}
			got := names(t, s, workspace.Filter{PeersOf: line})
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("List of the peers of %s = %v, want %v, in the forest %v", name, got, want, paths)
			}
		}
		if _, err := s.Line(ctx, "ws_missing"); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Line of nothing = %v, want NotFound", err)
		}
	})
}

func TestCountStates(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := newStore(t, database.Migrated(t))
		for _, want := range []map[workspace.State]int64{{}, {workspace.StateStopped: 1}, {workspace.StateStopped: 2}} {
			got, err := s.CountStates(t.Context())
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("CountStates() = %v, %v, want %v", got, err, want)
			}
			if _, err := s.Create(t.Context(), newWorkspace(t, "w"), workspace.Request{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
