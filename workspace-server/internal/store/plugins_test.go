package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

func TestPlugins(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		woken := 0
		s := store.New(database.Migrated(t), func(int64) { woken++ })
		ids := forest(t, s, "a", "b")
		woken = 0
		has := func(want ...string) {
			t.Helper()
			all, err := s.Plugins(ctx, ids["a"])
			got := []string{}
			for _, item := range all {
				got = append(got, item.Name+" "+item.Digest)
				if item.Created == 0 {
					t.Errorf("%s has no time", item.Name)
				}
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("Plugins() = %q, %v, want %q", got, err, want)
			}
		}
		has()
		const updated = workspace.EventUpdated
		attach := func(name, digest string, match workspace.Match) (bool, error) {
			got, fresh, err := s.AttachPlugin(ctx, ids["a"], name, digest, match)
			if err == nil && (got.Name != name || got.Digest != digest || got.Created == 0) {
				t.Errorf("AttachPlugin(%s, %s) = %+v", name, digest, got)
			}
			return fresh, err
		}
		detach := func(name string, match workspace.Match) (bool, error) {
			return false, s.DetachPlugin(ctx, ids["a"], name, match)
		}
		tests := []struct {
			call  string
			do    func() (bool, error)
			fresh bool
			want  string // the event; empty: none
			kind  workspace.Kind
		}{
			{"attach", func() (bool, error) { return attach("p", "one", nil) }, true, updated + " a - 2", ""},
			{"attach again", func() (bool, error) { return attach("p", "one", nil) }, false, "", ""},
			{"attach another content", func() (bool, error) { return attach("p", "two", workspace.Match{2}) }, false, updated + " a - 3", ""},
			{"attach, of an old revision", func() (bool, error) { return attach("q", "one", workspace.Match{2}) }, false, "", workspace.Stale},
			{"attach another", func() (bool, error) { return attach("a", "one", nil) }, true, updated + " a - 4", ""},
			{"detach, of an old revision", func() (bool, error) { return detach("p", workspace.Match{3}) }, false, "", workspace.Stale},
			{"detach", func() (bool, error) { return detach("p", nil) }, false, updated + " a - 5", ""},
			{"detach again", func() (bool, error) { return detach("p", nil) }, false, "", workspace.NotFound},
		}
		events := 0
		for _, tt := range tests {
			before, err := s.LastEvent(ctx)
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := tt.do()
			if fresh != tt.fresh || (err != nil) != (tt.kind != "") || err != nil && workspace.KindOf(err) != tt.kind {
				t.Errorf("%s = %v, %v, want %v, %q", tt.call, fresh, err, tt.fresh, tt.kind)
			}
			got := told(t, s, before, ids)
			if tt.want == "" && len(got) > 0 || tt.want != "" && !slices.Equal(got, []string{tt.want}) {
				t.Errorf("%s tells %q, want %q", tt.call, got, tt.want)
			}
			events += len(got)
		}
		if woken != events {
			t.Errorf("committed was called %d times for %d events", woken, events)
		}
		has("a one")
		for i := range workspace.MaxPlugins - 1 {
			if fresh, err := attach(fmt.Sprintf("n%d", i), "one", nil); err != nil || !fresh {
				t.Fatalf("attach plugin %d = %v, %v", i, fresh, err)
			}
		}
		if _, err := attach("too-many", "one", nil); workspace.KindOf(err) != workspace.Conflict {
			t.Errorf("attach one too many = %v, want Conflict", err)
		}
		if _, err := attach("a", "two", nil); err != nil {
			t.Errorf("attach another content of the last = %v", err)
		}
		if err := s.Delete(ctx, ids["a"], workspace.Refuse, false, nil); err != nil {
			t.Errorf("Delete of a workspace with plugins = %v", err)
		}
		_, listErr := s.Plugins(ctx, ids["a"])
		_, attachErr := attach("p", "one", nil)
		for _, err := range []error{listErr, attachErr, s.DetachPlugin(ctx, "ws_none", "p", nil)} {
			if workspace.KindOf(err) != workspace.NotFound {
				t.Errorf("of no workspace = %v, want NotFound", err)
			}
		}
	})
}

// Of many servers that attach at once none goes over the limit, and each change
// has its revision.
func TestPluginsAtOnce(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		ids := forest(t, stores[0], "a")
		for i := range workspace.MaxPlugins - 2 {
			if _, _, err := stores[0].AttachPlugin(ctx, ids["a"], fmt.Sprintf("n%d", i), "one", nil); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				_, _, err := stores[i%2].AttachPlugin(ctx, ids["a"], fmt.Sprintf("more-%d", i), "one", nil)
				if err != nil && workspace.KindOf(err) != workspace.Conflict {
					t.Errorf("AttachPlugin = %v, want nil or Conflict", err)
				}
			})
		}
		wg.Wait()
		all, err := stores[1].Plugins(ctx, ids["a"])
		w, getErr := stores[1].Get(ctx, ids["a"])
		if err != nil || getErr != nil || len(all) != workspace.MaxPlugins || w.Revision != workspace.MaxPlugins+1 {
			t.Errorf("there are %d plugins at revision %d, %v, %v, want %d", len(all), w.Revision, err, getErr, workspace.MaxPlugins)
		}
	})
}
