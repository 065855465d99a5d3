package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/workspace"
)

// A page comes out of an index in the list's order, so that it takes no longer
// when more workspaces fit.
func TestListPlan(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		db := database.Migrated(t)
		team := workspace.LabelFilter{Name: "team", Value: "red"}
		for _, c := range []struct {
			filter workspace.Filter
			index  string
		}{
			{workspace.Filter{}, "workspaces_by_age"},
			{workspace.Filter{State: workspace.StatePaused}, "workspaces_by_state"},
			{workspace.Filter{Template: "research"}, "workspaces_by_template"},
			{workspace.Filter{Parent: "ws_a"}, "workspaces_by_parent"},
			{workspace.Filter{Parent: workspace.NoParent}, "workspaces_by_"},
			{workspace.Filter{Labels: []workspace.LabelFilter{team}}, "labels_by_age"},
			{workspace.Filter{Labels: []workspace.LabelFilter{{Name: "gpu", AnyValue: true}, team}}, "labels_by_age"},
			{workspace.Filter{Labels: []workspace.LabelFilter{team, {Name: "stage", Value: "one"}}}, "labels_by_age"},
		} {
			query, args := store.ListQuery(c.filter, workspace.Cursor{Created: 1}, 10)
			var plan string
			err := db.Exclusive(t.Context(), func(tx *sql.Tx) (err error) {
				plan, err = explain(t.Context(), tx, database.URL != "", query, args)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan, c.index) || strings.Contains(plan, "Sort") || strings.Contains(plan, "TEMP B-TREE FOR ORDER") {
				t.Errorf("the plan for %+v is\n%s\nwant it to read %s and to sort nothing", c.filter, plan, c.index)
			}
		}
	})
}

// explain returns how a database answers a query. Postgres goes by how many
// rows there are, and is told to sort, or to read whole tables, only if there is
// no other way.
func explain(ctx context.Context, tx *sql.Tx, postgres bool, query string, args []any) (string, error) {
	explain, columns := "EXPLAIN QUERY PLAN ", 4
	if postgres {
		explain, columns = "EXPLAIN ", 1
		for _, setting := range []string{"enable_sort", "enable_seqscan", "enable_bitmapscan"} {
			if _, err := tx.ExecContext(ctx, "SET LOCAL "+setting+" = off"); err != nil {
				return "", err
			}
		}
	}
	rows, err := tx.QueryContext(ctx, explain+query, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		row, line := make([]any, columns), "" // the text is the last column
		for i := range row {
			row[i] = new(any)
		}
		row[columns-1] = &line
		if err := rows.Scan(row...); err != nil {
			return "", err
		}
		fmt.Fprintln(&plan, line)
	}
	return plan.String(), rows.Err()
}
