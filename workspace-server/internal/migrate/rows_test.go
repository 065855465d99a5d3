package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"workspace-server/internal/migrate"
	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
	"workspace-server/migrations"
)

// version is what a database may hold from a migration on.
type version struct {
	rows string // what a server of that version writes
	read func(ctx context.Context, s *store.Store) ([]any, error)
	want string // what a present server reads of it
}

// versions are all of them, by their migrations. Each goes on from the rows of
// those before it.
func versions() map[string]version {
	return map[string]version{
		"0001_workspaces.sql": {
			`INSERT INTO workspaces (id, name, template, desired, state, reason, message, since, revision, created, updated)
				VALUES ('ws_a', 'Ada', 'triage', 'stopped', 'stopped', 'created', 'here', 1, 2, 1, 2);
			UPDATE counters SET n = 2 WHERE name = 'events';
			INSERT INTO events (seq, type, workspace, at, data) VALUES (1, 'workspace.created', 'ws_a', 1, '{"id":"ws_a"}');
			INSERT INTO events (seq, type, workspace, at, data) VALUES (2, 'workspace.updated', 'ws_a', 2, '{"id":"ws_a"}');
			INSERT INTO requests (id, fingerprint, answer, created) VALUES ('k', 'f', '{"id":"ws_a"}', 1);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				w, err := s.Get(ctx, "ws_a")
				events, eventsErr := s.Events(ctx, "ws_a", 1, 9)
				made, again, replayErr := s.Replay(ctx, workspace.Request{Key: "k", Fingerprint: "f"})
				return []any{
					w.Name, w.Template, w.Desired, w.Status, w.Revision, w.Parent == "", w.Labels, w.Generation, w.IdleMinutes, len(events), made.ID, again,
				}, errors.Join(err, eventsErr, replayErr)
			},
			"Ada triage stopped {stopped created here 1} 2 true map[] 0 0 1 ws_a true",
		},
		"0002_hierarchy.sql": {
			`INSERT INTO workspaces (id, name, template, desired, state, reason, message, since, revision, created, updated, parent, labels, folded)
				VALUES ('ws_b', 'Bob', '', 'stopped', 'stopped', 'created', '', 3, 1, 3, 3, 'ws_a', '{"team":"blue"}', 'bob');
			INSERT INTO labels (workspace, name, value) VALUES ('ws_b', 'team', 'blue');`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				line, err := s.Line(ctx, "ws_b")
				w, getErr := s.Get(ctx, "ws_b")
				found, _, listErr := s.List(ctx, workspace.Filter{
					Text: "BOB", Labels: []workspace.LabelFilter{{Name: "team", Value: "blue"}},
				}, workspace.Cursor{}, 9)
				return []any{line, w.Labels, len(found)}, errors.Join(err, getErr, listErr)
			},
			"[ws_b ws_a] map[team:blue] 1",
		},
		"0003_tokens.sql": {
			`INSERT INTO tokens (id, hash, prefix, name, role, workspace, created, expires, revoked, last_used)
				VALUES ('tok_a', 'ha', 'wst_a', 'first', 'admin', NULL, 1, 0, 0, 9000000000000);
			INSERT INTO tokens (id, hash, prefix, name, role, workspace, created, expires, revoked, last_used)
				VALUES ('tok_b', 'hb', 'wst_b', 'agent', 'workspace', 'ws_b', 2, 0, 0, 9000000000000);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				admin, err := s.Authenticate(ctx, "ha")
				own, ownErr := s.Authenticate(ctx, "hb")
				return []any{admin.ID, admin.MayAdmin(), own.ID, own.MayUse("ws_b")}, errors.Join(err, ownErr)
			},
			"tok_a <nil> tok_b <nil>",
		},
		"0004_secrets.sql": {
			`INSERT INTO secrets (scope, name, workspace, key_id, box, created, updated) VALUES ('', 'A', NULL, 'k', 'YQ==', 1, 2);
			INSERT INTO secrets (scope, name, workspace, key_id, box, created, updated) VALUES ('ws_b', 'B', 'ws_b', 'k', 'Yg==', 1, 2);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				all, err := s.SealedSecrets(ctx, "ws_b")
				return []any{all}, err
			},
			"map[{ A}:{k [97]} {ws_b B}:{k [98]}]",
		},
		"0005_lifecycle.sql": {
			`INSERT INTO workspaces (id, name, template, desired, state, reason, message, since, revision, created, updated, labels, folded,
					generation, provisioned, provisioned_at, address, attempts, due, owner, owner_until, epoch)
				VALUES ('ws_c', 'Cleo', '', 'running', 'running', 'ready', '', 5, 3, 4, 5, '{}', 'cleo', 2, 2, 5, '127.0.0.1:9', 0, NULL, '', 0, 4);
			INSERT INTO transitions (workspace, revision, generation, at, from_state, to_state, reason, message, by_whom)
				VALUES ('ws_c', 3, 2, 5, 'starting', 'running', 'ready', 'here', 'server');
			INSERT INTO removals (id, keep_data, due) VALUES ('ws_gone', 1, 1);
			INSERT INTO installation (singleton, id) VALUES (1, 'test');
			INSERT INTO tokens (id, hash, prefix, name, role, workspace, created, expires, revoked, last_used, generation)
				VALUES ('tok_c', 'hc', 'wst_c', 'agent', 'workspace', 'ws_c', 3, 0, 0, 9000000000000, 2);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				w, err := s.Work(ctx, "ws_c")
				past, pastErr := s.Transitions(ctx, "ws_c", 0, 9)
				removals, removalsErr := s.ClaimRemovals(ctx, "server", time.Minute, 9)
				installation, installationErr := s.Installation(ctx)
				return []any{
					w.Status.State, w.Generation, w.Provisioned, w.Address, past, removals, installation,
				}, errors.Join(err, pastErr, removalsErr, installationErr)
			},
			"running 2 2 127.0.0.1:9 [{3 2 5 starting running ready here server}] [{ws_gone true 0 1}] test",
		},
		"0006_agents.sql": {
			`INSERT INTO agents (workspace, generation, url, card, registered, lease_until, active, error_rate, active_tasks, current_task, uptime)
				VALUES ('ws_c', 2, 'http://c.example', '{"name":"c"}', 5, 9000000000000, 6, 0.5, 1, 'thinking', 7);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				a, err := s.Agent(ctx, "ws_c")
				w, url, reachErr := s.Reach(ctx, "ws_c")
				return []any{a.Generation, string(a.Card), a.ErrorRate, a.CurrentTask, w.ID, url}, errors.Join(err, reachErr)
			},
			`2 {"name":"c"} 0.5 thinking ws_c http://c.example`,
		},
		"0007_retention.sql": {
			`DELETE FROM events WHERE seq = 1;
			UPDATE counters SET n = 1 WHERE name = 'forgotten events';`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				return []any{workspace.KindOf(s.Kept(ctx, 0))}, s.Kept(ctx, 1)
			},
			"gone",
		},
		"0008_plugins.sql": {
			`INSERT INTO plugins (workspace, name, digest, created) VALUES ('ws_b', 'code-review', 'sha256:0', 6);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				all, err := s.Plugins(ctx, "ws_b")
				return []any{all}, err
			},
			"[{code-review sha256:0 6}]",
		},
		"0009_idle.sql": {
			`UPDATE workspaces SET idle_minutes = 5 WHERE id = 'ws_b';`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				w, err := s.Get(ctx, "ws_b")
				return []any{w.IdleMinutes}, err
			},
			"5",
		},
		"0010_removed_tokens.sql": {
			`INSERT INTO removed_tokens (hash, workspace, removed) VALUES ('hgone', 'ws_gone', 7);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				_, err := s.Authenticate(ctx, "hgone")
				return []any{workspace.KindOf(err), workspace.Message(err)}, nil
			},
			`gone Workspace "ws_gone" was removed, and this token went with it.`,
		},
		"0011_labels_by_age.sql": {
			`INSERT INTO workspaces (id, name, template, desired, state, reason, message, since, revision, created, updated, labels, folded)
				VALUES ('ws_d', 'Dan', '', 'stopped', 'stopped', 'created', '', 8, 1, 8, 8, '{"team":"blue"}', 'dan');
			INSERT INTO labels (workspace, name, value, created) VALUES ('ws_d', 'team', 'blue', 8);`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				found, _, err := s.List(ctx, workspace.Filter{Labels: []workspace.LabelFilter{{Name: "team", Value: "blue"}}}, workspace.Cursor{}, 9)
				names := []any{}
				for _, w := range found {
					names = append(names, w.Name)
				}
				return names, err
			},
			"Dan Bob",
		},
		"0012_key_check.sql": {
			`INSERT INTO key_check (one, key_id, box) VALUES (1, 'k', 'YQ==');`,
			func(ctx context.Context, s *store.Store) ([]any, error) {
				check, err := s.KeyCheck(ctx)
				return []any{check != nil && check.Key == "k" && string(check.Box) == "a"}, err
			},
			"true",
		},
	}
}

// TestOldRows migrates a database from each earlier version, with rows in all
// tables. The rows stay as they are, and the present server reads and uses them.
func TestOldRows(t *testing.T) {
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if known := slices.Sorted(maps.Keys(versions())); !slices.Equal(known, names) {
		t.Fatalf("there are rows of %v, want some of each of %v", known, names)
	}
	for n := 1; n < len(names); n++ {
		t.Run(names[n-1], func(t *testing.T) {
			storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
				db := database.Open(t)
				if _, err := migrate.Run(t.Context(), db, firsts(t, names[:n])); err != nil {
					t.Fatal(err)
				}
				write(t, db, names[:n])
				before := dump(t, db, nil)
				if applied, err := migrate.Run(t.Context(), db, migrations.Files); err != nil || !slices.Equal(applied, names[n:]) {
					t.Fatalf("Run on a database with rows = %v, %v, want %v", applied, err, names[n:])
				}
				after := dump(t, db, before)
				for table, kept := range before {
					for _, row := range kept.rows {
						if !slices.Contains(after[table].rows, row) {
							t.Errorf("of table %s the row %s is not there any more; there are %s", table, row, after[table].rows)
						}
					}
				}
				check(t, db, names[:n])
			})
		})
	}
}

// An older server goes on for a while after a new one has migrated.
func TestOldServers(t *testing.T) {
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		write(t, db, names)
		check(t, db, names)
	})
}

// firsts returns the files of these migrations alone.
func firsts(t *testing.T, names []string) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, name := range names {
		text, err := migrations.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: text}
	}
	return fsys
}

// write writes the rows of some versions, and fails if a table has none.
func write(t *testing.T, db *store.DB, names []string) {
	t.Helper()
	for _, name := range names {
		err := db.Exclusive(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), versions()[name].rows)
			return err
		})
		if err != nil {
			t.Fatalf("the rows of %s: %v", name, err)
		}
	}
	for name, written := range dump(t, db, nil) {
		if len(written.rows) == 0 {
			t.Errorf("table %s has no row: have the version that made it write one", name)
		}
	}
}

// check has a present server read the rows of some versions, and go on with
// those of the first.
func check(t *testing.T, db *store.DB, names []string) {
	t.Helper()
	ctx, s := t.Context(), store.New(db, func(int64) {})
	if err := s.AgeLabels(ctx); err != nil {
		t.Error(err)
	}
	for _, name := range names {
		v := versions()[name]
		got, err := v.read(ctx, s)
		if text := strings.TrimSuffix(fmt.Sprintln(got...), "\n"); err != nil || text != v.want {
			t.Errorf("the rows of %s are read as\n%s, %v, want\n%s", name, text, err, v.want)
		}
	}
	started, err := s.Ask(ctx, "ws_a", workspace.Start, "tok_a", nil)
	if err != nil || started.Status.State != workspace.StateStarting || started.Generation != 1 {
		t.Errorf("Ask(start) = %+v, %v, want it to start for the first time", started, err)
	}
	child, err := workspace.New(workspace.Spec{Name: "child", Parent: "ws_a"}, time.Now())
	if err == nil {
		_, err = s.Create(ctx, child, workspace.Request{})
	}
	if err != nil {
		t.Errorf("Create below what was there = %v", err)
	}
	if err := s.Delete(ctx, "ws_a", workspace.Cascade, false, nil); err != nil {
		t.Errorf("Delete with all below = %v", err)
	}
	if last, err := s.LastEvent(ctx); err != nil || last < 5 {
		t.Errorf("LastEvent() = %d, %v, want one for each of those changes after event 2", last, err)
	}
}

// table is a table's rows, each as text, by some of its columns.
type table struct {
	columns []string
	rows    []string
}

// dump reads all tables or, of those that are given, their columns.
func dump(t *testing.T, db *store.DB, of map[string]table) map[string]table {
	t.Helper()
	names := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if db.Driver() == "postgres" {
		names = `SELECT table_name FROM information_schema.tables WHERE table_schema = CURRENT_SCHEMA()`
	}
	all := map[string]table{}
	for _, row := range query(t, db, names).rows {
		name := strings.Trim(row, "[]")
		columns := "*"
		switch known, ok := of[name]; {
		case ok:
			columns = strings.Join(known.columns, ", ")
		case of != nil:
			continue
		}
		all[name] = query(t, db, "SELECT "+columns+" FROM "+name)
	}
	return all
}

func query(t *testing.T, db *store.DB, text string) table {
	t.Helper()
	rows, err := db.Query(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all table
	if all.columns, err = rows.Columns(); err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		cells, into := make([]sql.NullString, len(all.columns)), []any{}
		for i := range cells {
			into = append(into, &cells[i])
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := []string{}
		for _, cell := range cells {
			if cell.Valid {
				row = append(row, cell.String)
			} else {
				row = append(row, "NULL")
			}
		}
		all.rows = append(all.rows, fmt.Sprint(row))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
