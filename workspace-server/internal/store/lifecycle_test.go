package store_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

const lease = time.Minute

// made makes a workspace that is to run at once.
func made(t *testing.T, s *store.Store) workspace.Workspace {
	t.Helper()
	w, err := workspace.New(workspace.Spec{Name: "a", Start: true}, time.Now())
	if err == nil {
		w, err = s.Create(t.Context(), w, workspace.Request{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func claimOne(t *testing.T, s *store.Store) workspace.Claim {
	t.Helper()
	claims, err := s.Claim(t.Context(), "server", lease, 10)
	if err != nil || len(claims) != 1 {
		t.Fatalf("Claim() = %d claims, %v, want 1", len(claims), err)
	}
	return claims[0]
}

// TestEveryStateIsStored: no one would notice a state that the schema refuses
// until it occurs.
func TestEveryStateIsStored(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		seen := map[workspace.State]bool{}
		w := made(t, s)
		see := func() workspace.Workspace {
			t.Helper()
			got, err := s.Get(t.Context(), w.ID)
			if err != nil {
				t.Fatal(err)
			}
			seen[got.Status.State] = true
			return got
		}
		ask := func(a workspace.Action) {
			t.Helper()
			if _, err := s.Ask(t.Context(), w.ID, a, "tok_a", nil); err != nil {
				t.Fatalf("Ask(%s) = %v", a, err)
			}
			see()
		}
		observe := func(facts ...workspace.Fact) {
			t.Helper()
			for _, f := range facts {
				if err := s.Nudge(t.Context(), []string{w.ID}); err != nil {
					t.Fatal(err)
				}
				c := claimOne(t, s)
				if err := s.Observe(t.Context(), c, workspace.Observation{Fact: f, Generation: c.Generation}); err != nil {
					t.Fatalf("Observe(%s) = %v", f, err)
				}
				see()
			}
		}
		stopped, err := workspace.New(workspace.Spec{Name: "b"}, time.Now())
		if err == nil {
			stopped, err = s.Create(t.Context(), stopped, workspace.Request{By: "tok_b"})
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[stopped.Status.State] = true
		see()
		observe(workspace.Provisioned, workspace.Ready)
		ask(workspace.Hibernate)
		observe(workspace.Ended)
		ask(workspace.Wake)
		observe(workspace.Provisioned, workspace.Exited)
		ask(workspace.Pause)
		observe(workspace.Ended)
		for _, state := range workspace.States() {
			if !seen[state] {
				t.Errorf("%s was not stored", state)
			}
		}
		now := see()
		log, err := s.Transitions(t.Context(), w.ID, 0, 100)
		if err != nil || int64(len(log)) != now.Revision || log[0].To != workspace.StatePaused || log[1].By != "tok_a" ||
			log[0].By != workspace.ByServer || log[len(log)-1].From != "" || log[0].Revision != now.Revision {
			t.Errorf("Transitions() = %+v, %v, want one for each of %d revisions, newest first", log, err, now.Revision)
		}
		if rest, err := s.Transitions(t.Context(), w.ID, log[2].Revision, 1); err != nil || len(rest) != 1 || rest[0] != log[3] {
			t.Errorf("Transitions(before the third) = %+v, %v, want %+v", rest, err, log[3])
		}
		if first, err := s.Transitions(t.Context(), stopped.ID, 0, 9); err != nil || len(first) != 1 || first[0].By != "tok_b" {
			t.Errorf("Transitions() of a fresh one = %+v, %v, want who made it", first, err)
		}
		if _, err := s.Transitions(t.Context(), "ws_none", 0, 1); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Transitions(ws_none) = %v, want NotFound", err)
		}
	})
}

// TestClaims: two servers share the work and get each workspace once.
func TestClaims(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		servers := []*store.Store{
			store.New(database.Migrated(t), func(int64) {}),
			store.New(database.Open(t), func(int64) {}),
		}
		const n = 40
		for range n {
			made(t, servers[0])
		}
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for tries := 0; tries < 200; tries++ {
					claims, err := servers[i%2].Claim(t.Context(), fmt.Sprint(i), lease, 3)
					if err != nil {
						t.Errorf("Claim() = %v", err)
						return
					}
					mu.Lock()
					for _, c := range claims {
						got[c.ID]++
					}
					all := len(got) == n
					mu.Unlock()
					if all {
						return
					}
				}
			})
		}
		wg.Wait()
		for id, times := range got {
			if times != 1 {
				t.Errorf("%s was claimed %d times", id, times)
			}
		}
		if len(got) != n {
			t.Errorf("%d of %d were claimed", len(got), n)
		}
	})
}

func TestLostClaimHasNoEffect(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		w := made(t, s)
		ready := workspace.Observation{Fact: workspace.Ready, Generation: 1}
		slow, err := s.Claim(t.Context(), "slow", -time.Second, 1) // it has ended already
		if err != nil || len(slow) != 1 {
			t.Fatalf("Claim() = %v, %v", slow, err)
		}
		c := claimOne(t, s)
		if again, err := s.Claim(t.Context(), "other", lease, 10); err != nil || len(again) != 0 {
			t.Errorf("Claim() of what is claimed = %+v, %v, want none", again, err)
		}
		_, renewErr := s.Renew(t.Context(), slow[0], lease)
		for call, err := range map[string]error{
			"Renew":   renewErr,
			"Observe": s.Observe(t.Context(), slow[0], ready),
			"Release": s.Release(t.Context(), slow[0], 0),
		} {
			if workspace.KindOf(err) != workspace.Conflict {
				t.Errorf("%s with a lost claim = %v, want Conflict", call, err)
			}
		}
		if same, err := s.Renew(t.Context(), c, lease); err != nil || !same {
			t.Errorf("Renew() = %v, %v, want the same workspace", same, err)
		}
		if _, err := s.Ask(t.Context(), w.ID, workspace.Pause, "tok_a", nil); err != nil {
			t.Fatal(err)
		}
		if same, err := s.Renew(t.Context(), c, lease); err != nil || same {
			t.Errorf("Renew() after something was asked = %v, %v, want to be told", same, err)
		}
		if err := s.Observe(t.Context(), c, ready); err != nil {
			t.Errorf("Observe() of what does not count any more = %v", err)
		}
		if c = claimOne(t, s); c.Status.State != workspace.StatePausing {
			t.Errorf("what was asked is lost: %+v", c)
		}
		if err := s.Release(t.Context(), c, -1); err != nil {
			t.Fatal(err)
		}
		if none, err := s.Claim(t.Context(), "x", lease, 1); err != nil || len(none) != 0 {
			t.Errorf("Claim() of what was released for good = %+v, %v", none, err)
		}
	})
}

func TestRemovals(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		w := made(t, s)
		c := claimOne(t, s)
		if err := s.Delete(t.Context(), w.ID, workspace.Refuse, true, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Observe(t.Context(), c, workspace.Observation{Fact: workspace.Provisioned, Generation: 1}); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Observe() of what is deleted = %v, want NotFound", err)
		}
		claim := func() []workspace.Removal {
			t.Helper()
			got, err := s.ClaimRemovals(t.Context(), "x", lease, 5)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := claim()
		if len(first) != 1 || first[0].ID != w.ID || !first[0].KeepData || len(claim()) != 0 {
			t.Fatalf("ClaimRemovals() = %+v, want %s, once", first, w.ID)
		}
		if known, err := s.Known(t.Context(), w.ID); err != nil || !known {
			t.Errorf("Known() of a removal = %v, %v, want true", known, err)
		}
		if err := s.RetryRemoval(t.Context(), first[0], 0); err != nil {
			t.Fatal(err)
		}
		second := claim()
		if len(second) != 1 || second[0].Attempts != 1 {
			t.Fatalf("ClaimRemovals() = %+v, want it again", second)
		}
		if err := s.Removed(t.Context(), first[0]); workspace.KindOf(err) != workspace.Conflict {
			t.Errorf("Removed() with an earlier claim = %v, want Conflict", err)
		}
		if err := s.Removed(t.Context(), second[0]); err != nil || len(claim()) != 0 {
			t.Errorf("Removed() = %v, want it to be done", err)
		}
		if known, err := s.Known(t.Context(), w.ID); err != nil || known {
			t.Errorf("Known() of what is removed = %v, %v, want false", known, err)
		}
	})
}

// TestInstallation: servers of one database are one installation, whichever of
// them comes first.
func TestInstallation(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		servers := []*store.Store{
			store.New(database.Migrated(t), func(int64) {}),
			store.New(database.Open(t), func(int64) {}),
		}
		var mu sync.Mutex
		seen := map[string]bool{}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				id, err := servers[i%2].Installation(t.Context())
				if err != nil || id == "" {
					t.Errorf("Installation() = %q, %v, want a name", id, err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[id] = true
			})
		}
		wg.Wait()
		if len(seen) != 1 {
			t.Errorf("the servers of one database are the installations %v, want one", seen)
		}
	})
}

// TestModel does random things on two servers, with crashes, and compares what
// is stored with the lifecycle's functions alone.
func TestModel(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		clock := time.UnixMilli(1_700_000_000_000)
		servers := []*store.Store{
			store.New(database.Migrated(t), func(int64) {}),
			store.New(database.Open(t), func(int64) {}),
		}
		for _, s := range servers {
			s.SetClock(func() time.Time { return clock })
		}
		actions := []workspace.Action{
			workspace.Start, workspace.Pause, workspace.Hibernate, workspace.Restart, workspace.Wake, workspace.Idle,
		}
		facts := []workspace.Fact{
			workspace.Provisioned, workspace.Ready, workspace.Broken, workspace.Exited, workspace.Late, workspace.Lost, workspace.Ended, workspace.Retry,
		}
		model := map[string]workspace.Work{}
		held := map[string]workspace.Claim{} // by servers that have not crashed
		var ids []string
		for step := range 400 {
			clock = clock.Add(time.Duration(rng.IntN(5000)) * time.Millisecond)
			s := servers[rng.IntN(2)]
			switch op := rng.IntN(10); {
			case op == 0 && len(ids) < 5:
				w, err := workspace.New(workspace.Spec{Name: "m", Start: rng.IntN(2) == 0}, clock)
				if err == nil {
					w, err = s.Create(t.Context(), w, workspace.Request{})
				}
				if err != nil {
					t.Fatal(err)
				}
				work := workspace.Work{Workspace: w}
				if w.Desired == workspace.StateRunning {
					work.Due = w.Created
				}
				ids, model[w.ID] = append(ids, w.ID), work
			case op < 4 && len(ids) > 0:
				id, a := ids[rng.IntN(len(ids))], actions[rng.IntN(len(actions))]
				want, _, wantErr := model[id].Ask(a, clock)
				_, err := s.Ask(t.Context(), id, a, "tok_a", nil)
				if workspace.KindOf(err) != workspace.KindOf(wantErr) {
					t.Fatalf("step %d: Ask(%s) of %+v = %v, want %v", step, a, model[id], err, wantErr)
				}
				model[id] = want
			case op < 6:
				claims, err := s.Claim(t.Context(), "m", -time.Second, 2)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range claims {
					if model[c.ID].Due > clock.UnixMilli() || model[c.ID].Due == 0 {
						t.Fatalf("step %d: claimed %+v, which is not due", step, c)
					}
					if rng.IntN(4) > 0 {
						held[c.ID] = c // what is not held was a server that crashed
					} else {
						delete(held, c.ID)
					}
				}
			default:
				for id, c := range held {
					delete(held, id)
					o := workspace.Observation{Fact: facts[rng.IntN(len(facts))], Generation: c.Generation, Address: "127.0.0.1:1", Message: "So."}
					if err := s.Observe(t.Context(), c, o); err != nil {
						t.Fatalf("step %d: Observe(%+v) = %v", step, o, err)
					}
					model[id], _ = model[id].Observe(o, clock)
					break
				}
			}
			for _, id := range ids {
				got, err := servers[1].Get(t.Context(), id)
				want := model[id]
				if err != nil || got.Status != want.Status || got.Desired != want.Desired || got.Generation != want.Generation || got.Revision != want.Revision {
					t.Fatalf("step %d: Get() = %+v, %v, want %+v", step, got, err, want.Workspace)
				}
				if int64(len(transitions(t, s, id))) != min(want.Revision, 500) {
					t.Fatalf("step %d: %d transitions of %d revisions", step, len(transitions(t, s, id)), want.Revision)
				}
			}
		}
	})
}

// TestNudgeAtOnce has two servers nudge the same workspaces, each in its order.
func TestNudgeAtOnce(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		one := store.New(db, func(int64) {})
		other := store.New(database.Open(t), func(int64) {})
		var ids []string
		for range 20 {
			ids = append(ids, made(t, one).ID)
		}
		reversed := slices.Clone(ids)
		slices.Reverse(reversed)
		for range 10 {
			err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), `UPDATE workspaces SET due = NULL`)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var both sync.WaitGroup
			both.Go(func() {
				if err := one.Nudge(t.Context(), ids); err != nil {
					t.Errorf("Nudge() beside another = %v", err)
				}
			})
			both.Go(func() {
				if err := other.Nudge(t.Context(), reversed); err != nil {
					t.Errorf("Nudge() in the other order = %v", err)
				}
			})
			both.Wait()
			for _, id := range ids {
				if w, err := one.Work(t.Context(), id); err != nil || w.Due == 0 {
					t.Fatalf("after Nudge() the workspace is %+v, %v, want it due", w, err)
				}
			}
		}
	})
}

func transitions(t *testing.T, s *store.Store, id string) []workspace.Transition {
	t.Helper()
	all, err := s.Transitions(t.Context(), id, 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(all); i++ {
		if all[i-1].From != all[i].To || all[i-1].Revision != all[i].Revision+1 {
			t.Fatalf("the transitions do not follow each other: %+v, %+v", all[i], all[i-1])
		}
	}
	return all
}
