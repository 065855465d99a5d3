package reload

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/load"
	"e2e/harness/loop"
	"e2e/harness/stats"
)

// awaitEdit makes edit n of the handler, by way of save, and waits for it.
func awaitEdit(t *testing.T, l *loop.Loop, save func(n int, text string)) loop.Edited {
	t.Helper()
	n := l.NextEdit()
	text, err := loop.HealthSource(l.Checkout, n)
	if err != nil {
		t.Fatal(err)
	}
	from := l.Process.Out.End()
	began := time.Now()
	save(n, text)
	e, err := l.Await(within(t, time.Minute), n, began, from)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// builders counts how many builds run at once, until stopped.
func builders(t *testing.T, l *loop.Loop) (most func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			links, err := l.Processes(ctx, "link")
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			n = max(n, len(links))
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return func() int {
		cancel()
		wg.Wait()
		return n
	}
}

// burst: many saves end in one build of the last, and nothing of the others
// goes on.
func burst(t *testing.T, l *loop.Loop) {
	const saves, gap = 20, 50 * time.Millisecond
	const quick = 250 * time.Millisecond // no build is done in less
	pauses := 0                          // of a typist whom a busy machine has stopped
	from := l.Process.Out.End()
	before := pid(t, l)
	most := builders(t, l)
	var e loop.Edited
	underLoad(t, l, func(*load.Load) {
		for range saves - 1 {
			text, err := loop.HealthSource(l.Checkout, l.NextEdit())
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			save(t, l, loop.Health, text, checkout.InPlace)
			<-time.After(gap) // the typist's pace
			if time.Since(began) > quick {
				pauses++
			}
		}
		e = awaitEdit(t, l, func(_ int, text string) { save(t, l, loop.Health, text, checkout.InPlace) })
	})
	if n := most(); n > 1 {
		t.Errorf("%d linkers ran at once, want 1", n)
	}
	if n := l.Process.Out.Count(from, loop.Outcome); n < 1 || n > 1+pauses {
		t.Errorf("%d saves with %d pauses ended in %d reloads, want 1, and no more than 1 for each pause:\n%s", saves, pauses, n, printed(l, from))
	}
	if now := pid(t, l); now == before {
		t.Errorf("pid %d serves as before, want another", now)
	}
	if n := strings.Count(printed(l, from), "ended before"); n > 0 {
		t.Errorf("superseded builds were started:\n%s", printed(l, from))
	}
	idle(t, l)
	t.Logf("report: %s: %d saves, %d ms apart: the last serves after %s", l.Kind, saves, gap.Milliseconds(), stats.Seconds(e.Took))
}

// idle waits until nothing of a build runs any more.
func idle(t *testing.T, l *loop.Loop) {
	t.Helper()
	ctx := within(t, time.Minute)
	for {
		var left []string
		for _, name := range []string{"go", "compile", "link", "asm"} {
			pids, err := l.Processes(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pids {
				left = append(left, fmt.Sprintf("%s %d", name, p))
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("processes of superseded builds go on: %v", left)
		}
	}
}

// manyFiles: a switch to another branch and back.
func manyFiles(t *testing.T, l *loop.Loop) {
	const dirs, files = 20, 10
	name := func(d, f int) string { return fmt.Sprintf("workspace-server/internal/planted/p%d/f%d.go", d, f) }
	imports := "package main\n\nimport (\n"
	for d := range dirs {
		imports += fmt.Sprintf("\t_ \"workspace-server/internal/planted/p%d\"\n", d)
	}
	const quick = 100 * time.Millisecond // not even a build that fails is done in less
	slow := 0                            // how many of those a switch has lasted
	from := l.Process.Out.End()
	most := builders(t, l)
	there := awaitEdit(t, l, func(_ int, text string) {
		defer func(began time.Time) { slow += int(time.Since(began) / quick) }(time.Now())
		for d := range dirs {
			for f := range files {
				save(t, l, name(d, f), fmt.Sprintf("package p%d\n\nvar V%d = %d\n", d, f, f), checkout.InPlace)
			}
		}
		save(t, l, planted, imports+")\n", checkout.InPlace)
		save(t, l, loop.Health, text, checkout.InPlace)
	})
	if want := regexp.MustCompile(fmt.Sprintf(` and %d more$`, dirs*files+1)); slow == 0 && !want.MatchString(there.Line.Text) {
		t.Errorf("printed %q, want it to match %q", there.Line.Text, want)
	}
	back := awaitEdit(t, l, func(_ int, text string) {
		defer func(began time.Time) { slow += int(time.Since(began) / quick) }(time.Now())
		for d := range dirs {
			for f := range files {
				if err := l.Checkout.Remove(name(d, f)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.Checkout.Remove(planted); err != nil {
			t.Fatal(err)
		}
		save(t, l, loop.Health, text, checkout.InPlace)
	})
	if n := most(); n > 1 {
		t.Errorf("%d linkers ran at once, want 1", n)
	}
	if n := l.Process.Out.Count(from, loop.Outcome); n < 2 || n > 2+slow {
		t.Errorf("two switches ended in %d reloads, want 2, and %d more at most for as long as they lasted:\n%s", n, slow, printed(l, from))
	}
	t.Logf("report: %s: %d files there and back: %s and %s", l.Kind, dirs*files+2, stats.Seconds(there.Took), stats.Seconds(back.Took))
}

// moduleFiles: go.mod and go.sum take part in the build.
func moduleFiles(t *testing.T, l *loop.Loop) {
	tests := []struct{ file, add, want string }{
		{"workspace-server/go.mod", "\ngodebug panicnil=1\n", `^reloaded in .*  workspace-server/go\.mod$`},
		{"workspace-server/go.sum", "\n", `^no reload: same program, pid \d+ keeps serving  workspace-server/go\.sum$`},
	}
	for _, tt := range tests {
		text, err := l.Checkout.Read(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		from := l.Process.Out.End()
		save(t, l, tt.file, text+tt.add, checkout.InPlace)
		await(t, l, from, loop.Outcome)
		if !slices.ContainsFunc(strings.Split(printed(l, from), "\n"), regexp.MustCompile(tt.want).MatchString) {
			t.Errorf("save %s: printed\n%swant a line that matches %q", tt.file, printed(l, from), tt.want)
		}
	}
}

// nestedDirectory: files in a directory that is made in the same moment, and
// later edits in it.
func nestedDirectory(t *testing.T, l *loop.Loop) {
	const leaf = "workspace-server/internal/planted/a/b/c/c.go"
	health, err := l.Checkout.Read(loop.Health)
	if err != nil {
		t.Fatal(err)
	}
	value := regexp.MustCompile(`const statusOK = "[^"]*"`)
	importing := value.ReplaceAllString(health, "const statusOK = c.Value")
	importing = strings.Replace(importing, `import "net/http"`, "import (\n\t\"net/http\"\n\n\t\"workspace-server/internal/planted/a/b/c\"\n)", 1)
	if !strings.Contains(importing, "planted/a/b/c") {
		t.Fatalf("%s does not import net/http alone:\n%s", loop.Health, health)
	}
	for i := range 4 {
		n := l.NextEdit()
		from := l.Process.Out.End()
		began := time.Now()
		save(t, l, leaf, fmt.Sprintf("package c\n\nconst Value = \"ok-%d\"\n", n), checkout.Way(n%2))
		if i == 0 {
			save(t, l, loop.Health, importing, checkout.InPlace)
		}
		if _, err := l.Await(within(t, time.Minute), n, began, from); err != nil {
			t.Fatal(err)
		}
	}

	// A package that the program does not import is none of the build's business.
	place := l.Process.Out.End()
	save(t, l, "workspace-server/internal/api/d/e/f.go", "package e\n\nthis does not compile\n", checkout.InPlace)
	n := l.NextEdit()
	began := time.Now()
	save(t, l, leaf, fmt.Sprintf("package c\n\nconst Value = \"ok-%d\"\n", n), checkout.InPlace)
	if _, err := l.Await(within(t, time.Minute), n, began, place); err != nil {
		t.Fatal(err)
	}
	if k := l.Process.Out.Count(place, loop.Outcome); k != 1 {
		t.Errorf("the loop reported %d reloads, want that of %s:\n%s", k, leaf, printed(l, place))
	}
}

// embedded: a file that is part of the program without being Go.
func embedded(t *testing.T, l *loop.Loop) {
	const name = "workspace-server/internal/openapi/openapi.json"
	text, err := l.Checkout.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`"title": "[^"]*"`).ReplaceAllString(text, `"title": "planted"`)
	if changed == text {
		t.Fatalf("%s has no title", name)
	}
	for _, way := range []checkout.Way{checkout.InPlace, checkout.Rename} {
		from := l.Process.Out.End()
		began := time.Now()
		save(t, l, name, changed, way)
		line := await(t, l, from, loop.Outcome)
		took := time.Since(began)
		if !loop.Reloaded.MatchString(line.Text) || !strings.HasSuffix(line.Text, name) {
			t.Errorf("printed %q, want a reload of %s", line.Text, name)
		}
		status, body, err := load.Get(within(t, time.Minute), l.Addr(), "/openapi.json")
		if err != nil || status != 200 || strings.Contains(string(body), "planted") != (changed != text) {
			t.Errorf("GET /openapi.json after the edit: status %d, %v, planted: %t, want %t", status, err, !strings.Contains(string(body), "planted"), changed != text)
		}
		t.Logf("report: %s: an embedded file: edit to serving in %s", l.Kind, stats.Seconds(took))
		changed = text
	}
}

// renameAndDelete: a file that moves, and one that goes.
func renameAndDelete(t *testing.T, l *loop.Loop) {
	moved := strings.TrimSuffix(loop.Health, ".go") + "_moved.go"
	awaitEdit(t, l, func(_ int, text string) {
		save(t, l, moved, text, checkout.Rename)
		if err := l.Checkout.Remove(loop.Health); err != nil {
			t.Fatal(err)
		}
	})
	// The file is watched under its new name.
	text, err := l.Checkout.Read(moved)
	if err != nil {
		t.Fatal(err)
	}
	n := l.NextEdit()
	from := l.Process.Out.End()
	began := time.Now()
	save(t, l, moved, regexp.MustCompile(`const statusOK = "[^"]*"`).ReplaceAllString(text, fmt.Sprintf(`const statusOK = "ok-%d"`, n)), checkout.InPlace)
	if _, err := l.Await(within(t, time.Minute), n, began, from); err != nil {
		t.Fatal(err)
	}
	// Deleting what others need breaks the build, and nothing else.
	before := pid(t, l)
	from = l.Process.Out.End()
	if err := l.Checkout.Remove(moved); err != nil {
		t.Fatal(err)
	}
	await(t, l, from, regexp.MustCompile(`^build failed in`))
	await(t, l, from, regexp.MustCompile(`undefined.*getHealth`))
	if now := pid(t, l); now != before {
		t.Errorf("pid %d serves after the deletion, want %d", now, before)
	}
}

// nothingChanged: an edit that leaves the program as it is restarts nothing.
func nothingChanged(t *testing.T, l *loop.Loop) {
	text, err := l.Checkout.Read(loop.Health)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, text string }{
		{"comment at the end", text + "\n// A comment.\n"},
		{"comment removed", text},
		{"comment that moves lines", strings.Replace(text, "package api\n", "package api\n\n// A comment.\n", 1)},
		{"reverted", text},
		{"saved as it was", text},
	}
	before := pid(t, l)
	for _, tt := range tests {
		from := l.Process.Out.End()
		save(t, l, loop.Health, tt.text, checkout.InPlace)
		line := await(t, l, from, loop.Outcome)
		if !loop.Unchanged.MatchString(line.Text) {
			t.Errorf("%s: printed %q, want no reload", tt.name, line.Text)
		}
		if now := pid(t, l); now != before {
			t.Errorf("%s: pid %d serves, want %d", tt.name, now, before)
		}
		before = pid(t, l)
	}
}

// onlyHealth makes an edit and checks that since a place nothing was reloaded
// but that: what air has not seen by then is not going to matter.
func onlyHealth(t *testing.T, l *loop.Loop, from int) {
	t.Helper()
	e := edit(t, l)
	if strings.HasSuffix(e.Line.Text, " more") {
		t.Errorf("printed %q, want %s alone", e.Line.Text, loop.Health)
	}
	if n := reloads(t, l); n != from+1 {
		t.Errorf("%d reloads, want the one of the handler", n-from)
	}
}

func reloads(t *testing.T, l *loop.Loop) int {
	t.Helper()
	s, err := l.Status(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return s.Reloads
}

// testFiles: neither tests nor what the go command ignores are watched.
func testFiles(t *testing.T, l *loop.Loop) {
	place, n := l.Process.Out.End(), reloads(t, l)
	save(t, l, "workspace-server/internal/api/planted_test.go", "package api\n\nthis does not even compile\n", checkout.InPlace)
	save(t, l, "workspace-server/internal/api/planted_test.go", "package api\n", checkout.Rename)
	save(t, l, "workspace-server/internal/api/testdata/planted.go", "package broken\n\nthis does not compile\n", checkout.InPlace)
	save(t, l, "workspace-server/internal/api/notes.txt", "nothing of a program\n", checkout.InPlace)
	if _, err := l.Exec(within(t, 3*time.Minute), "go", "-C", "workspace-server", "vet", "./internal/workspace"); err != nil {
		t.Error(err)
	}
	onlyHealth(t, l, n)
	if k := l.Process.Out.Count(place, loop.Outcome); k != 1 {
		t.Errorf("the loop reported %d reloads, want that of the handler:\n%s", k, printed(l, place))
	}
}

// migration: an edit prints one notice, and reloads nothing.
func migration(t *testing.T, l *loop.Loop) {
	const name = "workspace-server/migrations/9999_planted.sql"
	notice := regexp.MustCompile(`migrations are not reloaded: run "make rebuild"`)
	place, n, before := l.Process.Out.End(), reloads(t, l), pid(t, l)
	save(t, l, name, "CREATE TABLE planted (id TEXT NOT NULL PRIMARY KEY);\n", checkout.InPlace)
	await(t, l, place, notice)
	if now := pid(t, l); now != before {
		t.Errorf("pid %d serves, want %d", now, before)
	}
	if k := l.Process.Out.Count(place, notice); k != 1 {
		t.Errorf("the notice was printed %d times, want once:\n%s", k, printed(l, place))
	}
	// Before a build embeds it: a database keeps the schema that it has.
	if err := l.Checkout.Remove(name); err != nil {
		t.Fatal(err)
	}
	onlyHealth(t, l, n)
}

// template: read when used, so an edit is live without a reload.
func template(t *testing.T, l *loop.Loop) {
	const name = "workspace-server/templates/triage/config.yaml"
	place, n, before := l.Process.Out.End(), reloads(t, l), pid(t, l)
	text, err := l.Checkout.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`(?m)^description:.*$`).ReplaceAllString(text, "description: planted text")
	if changed == text {
		t.Fatalf("%s has no description:\n%s", name, text)
	}
	save(t, l, name, changed, checkout.Rename)
	ctx := within(t, time.Minute)
	token, err := l.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	status, body, err := load.GetAs(ctx, token, l.Addr(), "/v1/templates")
	if err != nil || status != 200 || !strings.Contains(string(body), "planted text") {
		t.Errorf("GET /v1/templates right after the edit: status %d, %v: %s; want the new text", status, err, body)
	}
	if now := pid(t, l); now != before {
		t.Errorf("pid %d serves, want %d", now, before)
	}
	onlyHealth(t, l, n)
	if k := l.Process.Out.Count(place, loop.Outcome); k != 1 {
		t.Errorf("the loop reported %d reloads, want that of the handler:\n%s", k, printed(l, place))
	}
}
