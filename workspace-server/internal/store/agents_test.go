package store_test

import (
	"database/sql"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

const card = `{"name": "a", "skills": [{"id": "<&>"}]}`

func registration(generation int64) workspace.Registration {
	return workspace.Registration{Generation: generation, Card: []byte(card)}
}

func agentOf(t *testing.T, s *store.Store, id string) workspace.Agent {
	t.Helper()
	a, err := s.Agent(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestPostgresClock: the time is that of the last whole millisecond, as Go's and
// SQLite's is, and never ahead.
func TestPostgresClock(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		if database.URL == "" {
			return
		}
		db := database.Migrated(t)
		var ahead int
		err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRowContext(t.Context(), `
				SELECT COUNT(*) FROM generate_series(1, 1000)
				WHERE `+db.Now()+` > EXTRACT(EPOCH FROM clock_timestamp()) * 1000`).Scan(&ahead)
		})
		if err != nil || ahead > 0 {
			t.Errorf("the time is ahead of itself %d times of 1000, %v, want never", ahead, err)
		}
	})
}

func TestRegister(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		w := made(t, s)
		if _, err := s.Agent(t.Context(), w.ID); workspace.KindOf(err) != workspace.NotFound || !strings.Contains(workspace.Message(err), "No agent has registered") {
			t.Errorf("Agent() before it registers = %v, want NotFound that says so", err)
		}
		beat := workspace.Heartbeat{Generation: 1}
		if err := s.Heartbeat(t.Context(), w.ID, beat); workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), "Register first") {
			t.Errorf("Heartbeat() before Register() = %v, want Conflict that says what is missing", err)
		}
		r := registration(1)
		r.URL = "https://agents.example.com/a"
		if err := s.Register(t.Context(), w.ID, r); err != nil {
			t.Fatalf("Register() = %v", err)
		}
		now, err := s.Get(t.Context(), w.ID)
		if err != nil || now.Status.State != workspace.StateRunning || now.Revision != w.Revision+1 {
			t.Errorf("after Register() the workspace is %+v, %v, want it running", now, err)
		}
		a := agentOf(t, s, w.ID)
		if a.Generation != 1 || a.URL != r.URL || string(a.Card) != card || a.Registered < w.Created || a.Active != a.Registered ||
			a.LeaseUntil != a.Registered+workspace.AgentLease.Milliseconds() {
			t.Errorf("Agent() = %+v, want what was registered, and a lease of %v", a, workspace.AgentLease)
		}

		// Again: the answer got lost. The workspace does not change twice.
		r.URL = ""
		if err := s.Register(t.Context(), w.ID, r); err != nil {
			t.Errorf("Register() again = %v", err)
		}
		if again := agentOf(t, s, w.ID); again.URL != "" || again.Registered < a.Registered {
			t.Errorf("Agent() after Register() again = %+v, want the second one", again)
		}
		last, err := s.LastEvent(t.Context())
		if same, getErr := s.Get(t.Context(), w.ID); err != nil || getErr != nil || same.Revision != now.Revision || last != 2 {
			t.Errorf("after Register() again the workspace is %+v, and there are %d events, %v, %v, want no more than before", same, last, err, getErr)
		}

		beat = workspace.Heartbeat{Generation: 1, ErrorRate: 0.25, ActiveTasks: 2, CurrentTask: "größer", Uptime: 7}
		for range 3 {
			if err := s.Heartbeat(t.Context(), w.ID, beat); err != nil {
				t.Errorf("Heartbeat() = %v", err)
			}
		}
		a = agentOf(t, s, w.ID)
		if a.ErrorRate != 0.25 || a.ActiveTasks != 2 || a.CurrentTask != "größer" || a.Uptime != 7 || string(a.Card) != card {
			t.Errorf("Agent() after Heartbeat(%+v) = %+v", beat, a)
		}
		if n, err := s.LastEvent(t.Context()); n != last || err != nil {
			t.Errorf("heartbeats wrote events up to %d, %v, want %d", n, err, last)
		}
		if same, err := s.Get(t.Context(), w.ID); err != nil || same.Revision != now.Revision || same.Updated != now.Updated {
			t.Errorf("heartbeats changed the workspace to %+v, %v", same, err)
		}
	})
}

// Whatever an agent says that is not wanted any more, nothing comes of it.
func TestLateAgents(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		w := made(t, s)
		if err := s.Register(t.Context(), w.ID, registration(1)); err != nil {
			t.Fatal(err)
		}
		refused := func(when string, generation int64, want workspace.Kind) {
			t.Helper()
			before, _ := s.Get(t.Context(), w.ID)
			known, _ := s.Agent(t.Context(), w.ID)
			for call, err := range map[string]error{
				"Register":  s.Register(t.Context(), w.ID, registration(generation)),
				"Heartbeat": s.Heartbeat(t.Context(), w.ID, workspace.Heartbeat{Generation: generation}),
			} {
				if workspace.KindOf(err) != want {
					t.Errorf("%s of generation %d %s = %v, want %s", call, generation, when, err, want)
				}
			}
			after, _ := s.Get(t.Context(), w.ID)
			now, _ := s.Agent(t.Context(), w.ID)
			if fmt.Sprint(before) != fmt.Sprint(after) || fmt.Sprint(known) != fmt.Sprint(now) {
				t.Errorf("what came %s changed\n%+v %+v\nto\n%+v %+v", when, before, known, after, now)
			}
		}
		ask := func(a workspace.Action) {
			t.Helper()
			if _, err := s.Ask(t.Context(), w.ID, a, "tok_a", nil); err != nil {
				t.Fatal(err)
			}
		}
		observe := func(f workspace.Fact) {
			t.Helper()
			c := claimOne(t, s)
			if err := s.Observe(t.Context(), c, workspace.Observation{Fact: f, Generation: c.Generation}); err != nil {
				t.Fatal(err)
			}
		}
		refused("from the future", 2, workspace.Conflict)
		ask(workspace.Pause)
		refused("while it is being paused", 1, workspace.Conflict)
		observe(workspace.Ended)
		refused("when it is paused", 1, workspace.Conflict)
		ask(workspace.Start)
		refused("of the start before", 1, workspace.Conflict)
		if err := s.Register(t.Context(), w.ID, registration(2)); err != nil {
			t.Errorf("Register() of the second start = %v", err)
		}
		ask(workspace.Hibernate)
		refused("while it is being hibernated", 2, workspace.Conflict)
		observe(workspace.Ended)
		refused("when it is hibernated", 2, workspace.Conflict)
		ask(workspace.Start)
		observe(workspace.Broken)
		refused("when it has failed", 3, workspace.Conflict)
		if err := s.Delete(t.Context(), w.ID, workspace.Refuse, false, nil); err != nil {
			t.Fatal(err)
		}
		refused("when it is gone", 3, workspace.NotFound)
		if _, err := s.Agent(t.Context(), w.ID); workspace.KindOf(err) != workspace.NotFound || !strings.Contains(workspace.Message(err), "There is no workspace") {
			t.Errorf("Agent() of what is gone = %v, want NotFound", err)
		}
	})
}

func TestActivity(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		// The server's clock is wrong; the database's counts.
		s.SetClock(func() time.Time { return time.UnixMilli(1) })
		w := made(t, s)
		if err := s.Touch(t.Context(), w.ID); err != nil {
			t.Errorf("Touch() without an agent = %v", err)
		}
		if err := s.Register(t.Context(), w.ID, registration(1)); err != nil {
			t.Fatal(err)
		}
		a := agentOf(t, s, w.ID)
		beat := func(tasks, last int64) workspace.Agent {
			t.Helper()
			if err := s.Heartbeat(t.Context(), w.ID, workspace.Heartbeat{Generation: 1, ActiveTasks: tasks, LastActive: last}); err != nil {
				t.Errorf("Heartbeat() = %v", err)
			}
			return agentOf(t, s, w.ID)
		}
		for _, last := range []int64{0, 1, a.Active - 1, a.Active} {
			if got := beat(0, last); got.Active != a.Active || got.LeaseUntil < a.LeaseUntil {
				t.Errorf("after a heartbeat of an idle agent, active at %d, Agent() = %+v, want no other activity than %d, and a lease", last, got, a.Active)
			}
		}
		// What has not happened yet is no activity, and does not keep an agent
		// from being idle later.
		for _, last := range []int64{math.MaxInt64, a.Active + time.Hour.Milliseconds()} {
			got := beat(0, last)
			if got.Active < a.Active || got.Active > got.LeaseUntil-workspace.AgentLease.Milliseconds()+1000 {
				t.Errorf("after a heartbeat from the future Agent() = %+v, want the present time at most", got)
			}
		}
		before := agentOf(t, s, w.ID)
		awaitLater(t, func() bool { return beat(1, 0).Active > before.Active })

		// A message counts too, at most once a second.
		before = agentOf(t, s, w.ID)
		changes := map[int64]bool{}
		awaitLater(t, func() bool {
			if err := s.Touch(t.Context(), w.ID); err != nil {
				t.Fatal(err)
			}
			changes[agentOf(t, s, w.ID).Active] = true
			return len(changes) > 1
		})
		for at := range changes {
			if at != before.Active && at < before.Active+1000 {
				t.Errorf("Touch() moved the activity from %d to %d, want a second between", before.Active, at)
			}
		}
	})
}

// awaitLater waits until the database's clock has gone on.
func awaitLater(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("the activity does not change")
		}
	}
}

func TestReach(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := store.New(database.Migrated(t), func(int64) {})
		w := made(t, s)
		reach := func(call, wantURL, wantAddress string) {
			t.Helper()
			got, url, err := s.Reach(t.Context(), w.ID)
			if err != nil || url != wantURL || got.Address != wantAddress || got.ID != w.ID {
				t.Errorf("Reach() %s = %+v, %q, %v, want address %q and URL %q", call, got, url, err, wantAddress, wantURL)
			}
		}
		reach("at first", "", "")
		c := claimOne(t, s)
		if err := s.Observe(t.Context(), c, workspace.Observation{Fact: workspace.Provisioned, Generation: 1, Address: "127.0.0.1:1"}); err != nil {
			t.Fatal(err)
		}
		r := registration(1)
		r.URL = "http://a.example"
		if err := s.Register(t.Context(), w.ID, r); err != nil {
			t.Fatal(err)
		}
		reach("once it is ready", "http://a.example", "127.0.0.1:1")
		if _, err := s.Ask(t.Context(), w.ID, workspace.Restart, "tok_a", nil); err != nil {
			t.Fatal(err)
		}
		reach("when it starts again", "", "127.0.0.1:1")
		if _, _, err := s.Reach(t.Context(), "ws_none"); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Reach(ws_none) = %v, want NotFound", err)
		}
	})
}

// Of a register and a pause that come at once, at two servers, the pause wins
// in any order: the workspace never runs afterwards.
func TestRegisterRacesPause(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		database.Migrated(t)
		one, two := store.New(database.Open(t), func(int64) {}), store.New(database.Open(t), func(int64) {})
		for range 10 {
			w := made(t, one)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := one.Register(t.Context(), w.ID, registration(1)); err != nil && workspace.KindOf(err) != workspace.Conflict {
					t.Errorf("Register() = %v", err)
				}
				if err := one.Heartbeat(t.Context(), w.ID, workspace.Heartbeat{Generation: 1}); err != nil && workspace.KindOf(err) != workspace.Conflict {
					t.Errorf("Heartbeat() = %v", err)
				}
			})
			wg.Go(func() {
				if _, err := two.Ask(t.Context(), w.ID, workspace.Pause, "tok_a", nil); err != nil {
					t.Errorf("Ask(pause) = %v", err)
				}
			})
			wg.Wait()
			if now, err := one.Get(t.Context(), w.ID); err != nil || now.Status.State != workspace.StatePausing || now.Desired != workspace.StatePaused {
				t.Errorf("after a pause and a register the workspace is %+v, %v, want it on its way to be paused", now, err)
			}
		}
	})
}
