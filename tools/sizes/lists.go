package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"e2e/harness/load"
)

// An item is what is checked of a workspace in a list.
type item struct {
	ID, Name, Template, Parent string
	Labels                     map[string]string
	Status                     struct{ State string }
	Created                    int64
}

// A list is one that is asked for.
type list struct {
	query string
	fits  func(item) bool
}

// lists returns the lists that are measured. Parent is a workspace with
// children.
func lists(parent string) []list {
	text := func(part string) func(item) bool {
		return func(i item) bool { return strings.Contains(strings.ToLower(i.Name), part) }
	}
	return []list{
		{"", func(item) bool { return true }},
		{"state=running", func(i item) bool { return i.Status.State == "running" }},
		{"state=stopped", func(i item) bool { return i.Status.State == "stopped" }},
		{"template=research", func(i item) bool { return i.Template == "research" }},
		{"parent=" + parent, func(i item) bool { return i.Parent == parent }},
		{"parent=none", func(i item) bool { return i.Parent == "" }},
		{"label=team=team-7", func(i item) bool { return i.Labels["team"] == "team-7" }},
		{"label=stage=stage-1&state=paused", func(i item) bool { return i.Labels["stage"] == "stage-1" && i.Status.State == "paused" }},
		{"q=7", text("7")},
		{"q=agent 77", text("agent 77")},
		{"q=nobody", text("nobody")},
	}
}

// path returns where a page of a list is.
func path(query, cursor string) string {
	path := "/v1/workspaces?limit=50"
	if query != "" {
		path += "&" + strings.ReplaceAll(query, " ", "+")
	}
	if cursor != "" {
		path += "&cursor=" + url.QueryEscape(cursor)
	}
	return path
}

// walk reads all pages of a list, and returns the cursors between them.
func walk(ctx context.Context, c *load.Caller, query string) ([]item, []string, error) {
	var all []item
	var cursors []string
	cursor := ""
	for {
		var page struct {
			Items []item
			Next  string
		}
		if err := ask(ctx, c, http.StatusOK, &page, "GET", path(query, cursor), ""); err != nil {
			return nil, nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, cursors, nil
		}
		if len(page.Items) != 50 {
			return nil, nil, fmt.Errorf("a page of %q that is not the last has %d items, want 50", query, len(page.Items))
		}
		cursor = page.Next
		cursors = append(cursors, cursor)
	}
}

// same fails unless a list has exactly those of all workspaces that fit, newest
// first.
func same(got, all []item, fits func(item) bool) error {
	var want []string
	for _, i := range all {
		if fits(i) {
			want = append(want, i.ID)
		}
	}
	var ids []string
	for _, i := range got {
		ids = append(ids, i.ID)
	}
	if !slices.Equal(ids, want) {
		return fmt.Errorf("it has %d workspaces, want the %d that fit, in their order", len(ids), len(want))
	}
	newestFirst := slices.IsSortedFunc(got, func(a, b item) int {
		if a.Created != b.Created {
			return int(b.Created - a.Created)
		}
		return strings.Compare(b.ID, a.ID)
	})
	if !newestFirst {
		return errors.New("its order is not newest first")
	}
	return nil
}

// measureLists asks for the first page of each list, and for one near the end
// where there are many. Both servers are asked at once.
func (p *platform) measureLists(ctx context.Context, all []item, n int) ([]row, error) {
	c := load.NewCaller(p.token, p.addrs[0])
	defer c.Close()
	var rows []row
	for _, l := range lists(all[len(all)-1].ID) {
		got, cursors, err := walk(ctx, c, l.query)
		if err == nil {
			err = same(got, all, l.fits)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", l.query, err)
		}
		name := l.query
		if name == "" {
			name = "all"
		}
		pages := []struct{ name, path string }{{name, path(l.query, "")}}
		if len(cursors) >= 10 {
			pages = append(pages, struct{ name, path string }{name + ", near its end", path(l.query, cursors[len(cursors)*9/10])})
		}
		for _, page := range pages {
			took, err := p.repeat(ctx, page.path, n)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row{name: page.name, took: took, target: 20 * time.Millisecond})
		}
	}
	return rows, nil
}

// repeat requests a page many times: nothing is written meanwhile, so
// all answers have to be the same.
func (p *platform) repeat(ctx context.Context, path string, n int) ([]time.Duration, error) {
	first := load.NewCaller(p.token, p.addrs[0])
	defer first.Close()
	_, want, err := first.Do(ctx, "GET", path, "")
	if err != nil {
		return nil, err
	}
	took := make([][]time.Duration, len(p.addrs))
	err = together(ctx, len(p.addrs), func(ctx context.Context, i int) error {
		c := load.NewCaller(p.token, p.addrs[i])
		defer c.Close()
		for range 1 + n/len(p.addrs) { // the first one connects
			began := time.Now()
			status, got, err := c.Do(ctx, "GET", path, "")
			if err != nil {
				return fmt.Errorf("GET %s: %w", path, err)
			}
			took[i] = append(took[i], time.Since(began))
			if status != http.StatusOK || !bytes.Equal(got, want) {
				return fmt.Errorf("GET %s: status %d and another answer than before: %.300s", path, status, got)
			}
		}
		took[i] = took[i][1:]
		return nil
	})
	return slices.Concat(took...), err
}
