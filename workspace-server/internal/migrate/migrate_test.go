package migrate_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"workspace-server/internal/migrate"
	"workspace-server/internal/store/storetest"
	"workspace-server/migrations"
)

func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

const (
	makeA   = "CREATE TABLE a (n BIGINT NOT NULL);\nINSERT INTO a (n) VALUES (1);\n"
	changeA = "INSERT INTO a (n) VALUES (2);\n"
)

func TestRun(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Open(t)
		steps := []struct {
			name  string
			files fstest.MapFS
			want  []string
			err   string
		}{
			{"a clean database", files("1_a.sql", makeA), []string{"1_a.sql"}, ""},
			{"nothing to do", files("1_a.sql", makeA), nil, ""},
			{"other line endings", files("1_a.sql", strings.ReplaceAll(makeA, "\n", "\r\n")), nil, ""},
			{"an edited file", files("1_a.sql", makeA+" "), nil, "1_a.sql was edited after it was applied"},
			{
				"a failing file", files("1_a.sql", makeA, "3_b.sql", changeA, "4_c.sql", "CREATE TABLE c (n BIGINT);\nINSERT INTO nowhere VALUES (1);\n"),
				[]string{"3_b.sql"},
				"4_c.sql",
			},
			{
				"the same file put right", files("1_a.sql", makeA, "3_b.sql", changeA, "4_c.sql", "CREATE TABLE c (n BIGINT);"),
				[]string{"4_c.sql"},
				"",
			},
			{
				"a file in between", files("1_a.sql", makeA, "2_x.sql", changeA, "3_b.sql", changeA, "4_c.sql", "CREATE TABLE c (n BIGINT);"),
				nil, "2_x.sql comes before 3_b.sql",
			},
			{"an older binary", files("1_a.sql", makeA), nil, "the database is newer"},
		}
		for _, step := range steps {
			got, err := migrate.Run(t.Context(), db, step.files)
			if !slices.Equal(got, step.want) {
				t.Errorf("%s: Run = %v, want %v", step.name, got, step.want)
			}
			if step.err == "" && err != nil || step.err != "" && (err == nil || !strings.Contains(err.Error(), step.err)) {
				t.Errorf("%s: Run = error %v, want %q", step.name, err, step.err)
			}
		}
	})
}

// Servers that start at once on a clean database all come up, and each
// migration is applied once.
func TestRunAtOnce(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		fsys := files("1_a.sql", makeA, "2_b.sql", changeA, "3_c.sql", "CREATE TABLE c (n BIGINT);")
		type result struct {
			applied []string
			err     error
		}
		results := make(chan result, 6)
		for range cap(results) {
			db := database.Open(t)
			go func() {
				applied, err := migrate.Run(t.Context(), db, fsys)
				results <- result{applied, err}
			}()
		}
		var all []string
		for range cap(results) {
			r := <-results
			if r.err != nil {
				t.Errorf("Run = %v", r.err)
			}
			all = append(all, r.applied...)
		}
		slices.Sort(all)
		if want := []string{"1_a.sql", "2_b.sql", "3_c.sql"}; !slices.Equal(all, want) {
			t.Errorf("all servers together applied %v, want %v", all, want)
		}
	})
}

func TestShippedMigrations(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Open(t)
		for _, want := range []bool{true, false} {
			applied, err := migrate.Run(t.Context(), db, migrations.Files)
			if err != nil || (len(applied) > 0) != want {
				t.Errorf("Run(migrations.Files) = %v, %v, want some applied: %t", applied, err, want)
			}
		}
	})
}
