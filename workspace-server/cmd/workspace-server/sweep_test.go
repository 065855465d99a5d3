package main

import (
	"database/sql"
	"errors"
	"net/http"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/sweep"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// A server removes what is older than EVENT_RETENTION, and nothing else.
func TestSweeps(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		past := aged(t, database, 2*time.Hour)
		ln, url := listenLoopback(t)
		p := start(t, ln, database, "EVENT_RETENTION=1h", "PROVISIONER=none")
		client := &http.Client{Transport: &http.Transport{}}
		t.Cleanup(client.CloseIdleConnections)
		admin := authorization(t, database)
		call := func(authorization, path string, want int, into any) error {
			c := &clients{url: url, authorization: authorization}
			return c.call(client, http.MethodGet, path, "", want, into)
		}
		transitions := func() (int, error) {
			var all struct{ Items []workspace.Transition }
			err := call(admin, "/v1/workspaces/"+past.id+"/transitions", http.StatusOK, &all)
			return len(all.Items), err
		}
		const self, first = "/v1/tokens/self", "/v1/events?after=0"
		n, err := transitions()
		if err = errors.Join(err, call(past.late, self, http.StatusGone, nil), call(admin, first, http.StatusOK, nil)); err != nil || n != 2 {
			t.Errorf("before a sweep there are %d transitions, %v, want 2, and all that is old", n, err)
		}
		// Each kind has a sweeper of its own, whose first sweep comes early.
		for end := time.Now().Add(3 * sweep.Interval); ; time.Sleep(20 * time.Millisecond) {
			n, err := transitions()
			if err = errors.Join(err, call(past.late, self, http.StatusUnauthorized, nil), call(admin, first, http.StatusGone, nil)); err == nil && n == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("what is old is still there: %d transitions, want 1; %v; the server's log:\n%s", n, err, p.log)
			}
		}
		stream := newStreamRequest(t, url, admin)
		stream.Header.Set("Last-Event-ID", "0")
		resp, err := client.Do(stream)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusGone {
			t.Errorf("a stream from event 0 = %s, want 410", resp.Status)
		}
		var left struct{ Items []workspace.Event }
		err = errors.Join(call(past.lateToday, self, http.StatusGone, nil), call(admin, "/v1/events", http.StatusOK, &left))
		if err != nil || len(left.Items) == 0 || left.Items[0].Seq != 2 {
			t.Errorf("what is not old: %v, and the events %+v, want those from 2 on", err, left.Items)
		}
		p.stop()
	})
}

// remains are a workspace of some time ago, which was started just now, and the
// tokens of two others, which were removed then and just now.
type remains struct{ id, late, lateToday string }

// aged writes what a server would have written that long ago, and some more.
func aged(t *testing.T, database storetest.Database, age time.Duration) remains {
	t.Helper()
	ctx, db := t.Context(), database.Migrated(t)
	s := store.New(db, func(int64) {})
	then := time.Now().Add(-age)
	create := func(at time.Time) string {
		t.Helper()
		w, err := workspace.New(workspace.Spec{Name: "w"}, at)
		if err == nil {
			_, err = s.Create(ctx, w, workspace.Request{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return w.ID
	}
	remove := func(id string) string {
		t.Helper()
		secret := token.NewSecret()
		made, err := token.New(token.Spec{Role: token.Workspace, Workspace: id}, secret, time.Now())
		if err == nil {
			err = s.CreateToken(ctx, made, secret.Hash())
		}
		if err == nil {
			err = s.Delete(ctx, id, workspace.Refuse, false, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + string(secret)
	}
	made := remains{id: create(then)}
	if _, err := s.Ask(ctx, made.id, workspace.Start, workspace.ByServer, nil); err != nil {
		t.Fatal(err)
	}
	made.late = remove(create(time.Now()))
	err := db.Exclusive(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE removed_tokens SET removed = $1`, then.UnixMilli())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	made.lateToday = remove(create(time.Now()))
	return made
}
