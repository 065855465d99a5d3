package api

import (
	"context"
	"crypto/rand"
	"database/sql"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

var replicaEvents = flag.Int("replica-events", 5_000, "how many events TestReplicas writes on Postgres")

// TestReplicas has clients of two servers follow more events than a server holds in
// memory. Both servers write them, while the test keeps ending the connections that
// the servers listen on. Each client must see each event once, in order.
func TestReplicas(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		const writers, clients = 4, 4
		perWriter := *replicaEvents / writers
		if database.URL == "" {
			perWriter /= 4 // SQLite writes each to the disk, one after the other
		}
		if database.URL != "" {
			// The name tells their connections from those of other tests.
			database.URL += "&application_name=" + strings.ToLower(rand.Text())
		}
		servers := []*testAPI{newAPI(t, database.Migrated(t)), newAPI(t, database.Open(t))}
		var streams []*sse
		for i := range clients {
			streams = append(streams, servers[i%2].stream("/v1/events?after=0"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		context.AfterFunc(ctx, func() {
			for _, s := range streams {
				_ = s.resp.Body.Close()
			}
		})
		// A busy database may refuse a first try.
		var written []string
		for i := range writers {
			written = append(written, servers[i%2].create(fmt.Sprint("writer ", i)).ID)
		}
		stop := func() {}
		if database.URL != "" {
			stop = endListeners(t, database.URL)
		}
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for n := range perWriter - 1 {
					name := fmt.Sprint(n)
					for {
						_, err := servers[i%2].store.Update(t.Context(), written[i], workspace.Patch{Name: &name}, nil)
						if err == nil {
							break
						}
						if workspace.KindOf(err) != workspace.Unavailable { // a busy database may be
							t.Errorf("Update() = %v", err)
							cancel()
							return
						}
					}
				}
			})
		}
		var readers sync.WaitGroup
		for i, s := range streams {
			readers.Go(func() {
				for want := range writers * perWriter {
					fields, ok := s.block()
					for ok && fields["data"] == "" {
						fields, ok = s.block()
					}
					if !ok || fields["id"] != fmt.Sprint(want+1) {
						t.Errorf("client %d sees event %s, %v, want %d", i, fields["id"], ok, want+1)
						return
					}
				}
			})
		}
		wg.Wait()
		readers.Wait()
		stop()
	})
}

// endListeners keeps ending the connections that wait for hints until the test calls
// stop, which fails the test if there were none.
func endListeners(t *testing.T, url string) (stop func()) {
	t.Helper()
	connector, err := pq.NewConnector(url)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	ended := 0
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			var n int
			// Only those of this test's schema; others' servers go on.
			err := db.QueryRowContext(ctx, `
				SELECT COUNT(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
				WHERE a.query LIKE 'LISTEN %' AND a.pid <> pg_backend_pid() AND a.application_name = current_setting('application_name')`).Scan(&n)
			if err != nil && ctx.Err() == nil {
				t.Errorf("end the listeners: %v", err)
				return
			}
			ended += n
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		if ended == 0 {
			t.Error("no connection was listening")
		}
	}
}
