package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"workspace-server/internal/workspace"
)

// List implements workspace.Store.
func (s *Store) List(ctx context.Context, filter workspace.Filter, after workspace.Cursor, limit int) ([]workspace.Workspace, workspace.Cursor, error) {
	if after == (workspace.Cursor{}) {
		after.Created = math.MaxInt64
	}
	// One more item than the limit shows that there is a next page.
	query, args := listQuery(filter, after, limit+1)
	items, err := collect(s.db.read.QueryContext(ctx, query, args...))
	if err != nil {
		return nil, workspace.Cursor{}, s.db.fail("list workspaces", err)
	}
	if len(items) <= limit {
		return items, workspace.Cursor{}, nil
	}
	last := items[limit-1]
	return items[:limit], workspace.Cursor{Created: last.Created, ID: last.ID}, nil
}

// params numbers the parameters of a query that is built in parts. They must
// appear in the text in the order of their numbers.
type params []any

func (p *params) add(value any) string {
	*p = append(*p, value)
	return fmt.Sprintf("$%d", len(*p))
}

// listQuery names only the columns that the filter has, so that the database can
// choose an index by them.
func listQuery(f workspace.Filter, after workspace.Cursor, limit int) (string, []any) {
	var p params
	from, place, order, labels := listFrom(f.Labels, &p)
	where := []string{"(" + place + ") < (" + p.add(after.Created) + ", " + p.add(after.ID) + ")"}
	and := func(condition string) { where = append(where, condition) }
	if f.State != "" {
		and("state = " + p.add(f.State))
	}
	if f.Template != "" {
		and("template = " + p.add(f.Template))
	}
	switch f.Parent {
	case "":
	case workspace.NoParent:
		and("parent IS NULL")
	default:
		and("parent = " + p.add(f.Parent))
	}
	for _, l := range labels {
		condition := "name = " + p.add(l.Name)
		if !l.AnyValue {
			condition += " AND value = " + p.add(l.Value)
		}
		and("id IN (SELECT workspace FROM labels WHERE " + condition + ")")
	}
	if f.Text != "" {
		literal := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(fold(f.Text))
		and("COALESCE(folded, LOWER(name)) LIKE " + p.add("%"+literal+"%") + " ESCAPE '!'")
	}
	if len(f.PeersOf) > 0 {
		and(peers(f.PeersOf, &p))
	}
	return `SELECT ` + columns + ` FROM ` + from + ` WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY ` + order + ` LIMIT ` + p.add(limit), p
}

// listFrom returns what to list in the order of age, and the labels that still
// filter it. Labels with one name and value have an index by age, which leads to
// a page of the workspaces with that label at once, be they few or many. It does
// not show labels without an age, which would be at a place that no cursor
// reaches.
func listFrom(labels []workspace.LabelFilter, p *params) (from, place, order string, rest []workspace.LabelFilter) {
	for i, l := range labels {
		if l.AnyValue {
			continue
		}
		from = `(SELECT workspace AS labelled, created AS labelled_created FROM labels WHERE name = ` +
			p.add(l.Name) + ` AND value = ` + p.add(l.Value) + ` AND created > 0) l JOIN workspaces ON id = labelled`
		return from, "labelled_created, labelled", "labelled_created DESC, labelled DESC", slices.Delete(slices.Clone(labels), i, i+1)
	}
	return "workspaces", "created, id", "created DESC, id DESC", labels
}

// peers returns workspace.MayTalk as a condition.
func peers(of workspace.Line, p *params) string {
	condition := "id <> " + p.add(of[0]) + " AND (id IN (" + below(p.add(of[0])) + " SELECT id FROM below)"
	for _, ancestor := range of[1:] {
		condition += " OR id = " + p.add(ancestor)
	}
	if of.Parent() == "" {
		return condition + " OR parent IS NULL)"
	}
	return condition + " OR parent = " + p.add(of.Parent()) + ")"
}

// CountStates implements workspace.Store.
func (s *Store) CountStates(ctx context.Context) (map[workspace.State]int64, error) {
	counts, err := s.countStates(ctx)
	return counts, s.db.fail("count workspaces", err)
}

func (s *Store) countStates(ctx context.Context) (map[workspace.State]int64, error) {
	rows, err := s.db.read.QueryContext(ctx, `SELECT state, COUNT(*) FROM workspaces GROUP BY state`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[workspace.State]int64{}
	for rows.Next() {
		var state workspace.State
		var n int64
		if err := rows.Scan(&state, &n); err != nil {
			return nil, err
		}
		counts[state] = n
	}
	return counts, rows.Err()
}
