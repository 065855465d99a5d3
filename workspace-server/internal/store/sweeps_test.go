package store_test

import (
	"database/sql"
	"slices"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

// running makes a workspace that runs, with an agent.
func running(t *testing.T, s *store.Store, idleMinutes int64) string {
	t.Helper()
	w, err := workspace.New(workspace.Spec{Name: "a", IdleMinutes: idleMinutes, Start: true}, time.Now())
	if err == nil {
		w, err = s.Create(t.Context(), w, workspace.Request{})
	}
	if err == nil {
		err = s.Register(t.Context(), w.ID, workspace.Registration{Generation: 1, Card: []byte(`{"name":"a"}`)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.ID
}

// ago moves what is known of an agent into the past.
func ago(t *testing.T, db *store.DB, id string, by time.Duration) {
	t.Helper()
	err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `
			UPDATE agents SET active = active - $1, lease_until = lease_until - $2 WHERE workspace = $3`,
			by.Milliseconds(), by.Milliseconds(), id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func stateOf(t *testing.T, s *store.Store, id string) workspace.State {
	t.Helper()
	w, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return w.Status.State
}

func TestIdle(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		s := store.New(db, func(int64) {})
		other := store.New(database.Open(t), func(int64) {})
		never, used, busy, done := running(t, s, 0), running(t, s, 10), running(t, s, 10), running(t, s, 10)
		for _, id := range []string{never, used, busy, done} {
			ago(t, db, id, 11*time.Minute)
		}
		if err := s.Touch(t.Context(), used); err != nil {
			t.Fatal(err)
		}
		// The heartbeat of an agent that does nothing is no activity.
		for id, tasks := range map[string]int64{busy: 1, done: 0} {
			if err := s.Heartbeat(t.Context(), id, workspace.Heartbeat{Generation: 1, ActiveTasks: tasks}); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for _, s := range []*store.Store{s, other, s, other} {
			wg.Go(func() {
				if err := s.Idle(t.Context()); err != nil {
					t.Errorf("Idle() = %v", err)
				}
			})
		}
		wg.Wait()
		for id, want := range map[string]workspace.State{
			never: workspace.StateRunning, used: workspace.StateRunning, busy: workspace.StateRunning, done: workspace.StateHibernating,
		} {
			if got := stateOf(t, s, id); got != want {
				t.Errorf("after Idle() it is %s, want %s", got, want)
			}
		}
		log, err := s.Transitions(t.Context(), done, 0, 9)
		if err != nil || len(log) != 3 || log[0].Reason != string(workspace.Idle) || log[0].By != workspace.ByServer {
			t.Errorf("Transitions() = %+v, %v, want one for the end of its activity", log, err)
		}
	})
}

func TestSilent(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		s := store.New(db, func(int64) {})
		heard, silent, paused := running(t, s, 0), running(t, s, 0), running(t, s, 0)
		for _, id := range []string{silent, paused} {
			ago(t, db, id, workspace.AgentLease)
		}
		if _, err := s.Ask(t.Context(), paused, workspace.Pause, "tok_a", nil); err != nil {
			t.Fatal(err)
		}
		if ids, err := s.Silent(t.Context()); err != nil || !slices.Equal(ids, []string{silent}) {
			t.Errorf("Silent() = %v, %v, want %s and not %s", ids, err, silent, heard)
		}
	})
}

func TestRemoveTransitions(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		id := running(t, s, 0)
		for _, a := range []workspace.Action{workspace.Restart, workspace.Restart, workspace.Restart} {
			if _, err := s.Ask(t.Context(), id, a, "tok_a", nil); err != nil {
				t.Fatal(err)
			}
		}
		later := time.Now().Add(time.Hour)
		for i, step := range []struct {
			before time.Time
			limit  int
			want   int
		}{
			{time.Now().Add(-time.Hour), 100, 0},
			{later, 1, 1},
			{later, 100, 3},
			{later, 100, 0},
		} {
			if n, err := s.RemoveTransitions(t.Context(), step.before, step.limit); err != nil || n != step.want {
				t.Errorf("step %d: RemoveTransitions() = %d, %v, want %d", i, n, err, step.want)
			}
		}
		if left, err := s.Transitions(t.Context(), id, 0, 9); err != nil || len(left) != 1 || left[0].Revision != 5 {
			t.Errorf("Transitions() = %+v, %v, want the last one", left, err)
		}
	})
}

func TestLag(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		if lag, err := s.Lag(t.Context()); err != nil || lag != 0 {
			t.Errorf("Lag() with nothing due = %v, %v, want 0", lag, err)
		}
		made(t, s)
		s.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
		if lag, err := s.Lag(t.Context()); err != nil || lag < time.Hour || lag > time.Hour+time.Minute {
			t.Errorf("Lag() = %v, %v, want an hour", lag, err)
		}
	})
}
