package loop

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"devloop/internal/source"
	"devloop/internal/testkit"
)

// TestSweeper checks what follows from each look at the sources.
func TestSweeper(t *testing.T) {
	t.Parallel()
	const relaxed, busy = 400 * time.Millisecond, 250 * time.Millisecond
	one, other := source.Tree{"a.go": {}}, source.Tree{"a.go": {}, "b.go": {}}
	source1, embedded, elsewhere := []source.Change{{Path: "a.go"}}, []source.Change{{Path: "a.txt"}}, []source.Change{{Path: "/b/b.go"}}
	tests := []struct {
		name  string
		begin sweeper
		look  look
		want  move
		end   sweeper
	}{
		{"nothing edited", sweeper{}, look{tree: one}, move{wait: relaxed}, sweeper{}},
		{"nothing edited, a slow look", sweeper{}, look{tree: one, took: time.Second}, move{wait: 50 * time.Second}, sweeper{}},
		{"an edit", sweeper{}, look{tree: one, changes: source1}, move{wait: patience}, sweeper{seen: one}},
		{"an edit, a slow look", sweeper{}, look{tree: one, changes: source1, took: time.Second}, move{wait: patience}, sweeper{seen: one}},
		{"an edit of what air does not watch", sweeper{}, look{tree: one, changes: embedded}, move{wait: relaxed, build: true}, sweeper{}},
		{"an edit where air does not watch", sweeper{}, look{tree: one, changes: elsewhere}, move{wait: relaxed, build: true}, sweeper{}},
		{"air took the edit", sweeper{seen: one}, look{tree: one}, move{wait: relaxed}, sweeper{}},
		{"another edit meanwhile", sweeper{seen: one}, look{tree: other, changes: source1}, move{wait: patience}, sweeper{seen: other}},
		{"air does not take the edit", sweeper{seen: one}, look{tree: one, changes: source1}, move{wait: relaxed, build: true}, sweeper{}},
		{"an edit without events", sweeper{}, look{tree: one, changes: source1, silent: true}, move{wait: patience}, sweeper{seen: one}},
		{"an edit without events, which air does not take", sweeper{seen: one}, look{tree: one, changes: source1, silent: true}, move{wait: busy, build: true, notice: true}, sweeper{busy: true, said: true}},
		{"busy, nothing edited", sweeper{busy: true}, look{tree: one}, move{wait: busy}, sweeper{busy: true}},
		{"busy, a slow look", sweeper{busy: true}, look{tree: one, took: time.Second}, move{wait: 10 * time.Second}, sweeper{busy: true}},
		{"busy, an edit without events", sweeper{busy: true, said: true}, look{tree: one, changes: source1, silent: true}, move{wait: busy, build: true}, sweeper{busy: true, said: true}},
		{"busy, an edit with events", sweeper{busy: true, said: true}, look{tree: one, changes: source1}, move{wait: patience}, sweeper{said: true, seen: one}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.begin
			if got := s.step(tt.look); got != tt.want {
				t.Errorf("%+v.step(%+v) = %+v, want %+v", tt.begin, tt.look, got, tt.want)
			}
			if !reflect.DeepEqual(s, tt.end) {
				t.Errorf("%+v.step(%+v) leaves %+v, want %+v", tt.begin, tt.look, s, tt.end)
			}
		})
	}
}

// TestSweep edits without telling anybody.
func TestSweep(t *testing.T) {
	t.Parallel()
	h := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		h.Sweep(ctx)
	}()
	h.serving()
	h.write(bad)
	testkit.Eventually(t, "the failure of an unreported edit", func() bool { return h.Status().Failure != "" })
	h.serves("1")
	h.write(version("2", ""))
	testkit.Eventually(t, "an unreported edit", func() bool { return h.Status().Reloads == 1 })
	testkit.Eventually(t, "the end of its reload", func() bool { return !h.Status().Building })
	h.serves("2")
	// No one was silent but the test: the file system told of each edit.
	h.prints(`build failed in [0-9.]+s: `+servesOn, `  version\.go:3:26: .*`, `  version\.go:3:35: .*`, reloaded+edited)
	cancel()
	testkit.Within(t, "the end of Sweep", swept)
}

// TestMissed checks which edits Sweep sees.
func TestMissed(t *testing.T) {
	t.Parallel()
	h := start(t)
	check := func(when string, want bool) {
		t.Helper()
		if _, got := h.missed(); (len(got) > 0) != want {
			t.Errorf("missed() = %v %s, want changes: %t", got, when, want)
		}
	}
	check("before the first build", false)
	gate := testkit.NewGate(t)
	code := h.background(gate.Arg())
	_, open := gate.Hold()
	h.write(version("2", ""))
	check("during a build", false)
	open()
	testkit.Within(t, "the end of Build", code)
	check("after an edit during a build", true)
	h.build(0)
	check("after a build", false)
	if err := os.WriteFile(filepath.Join(h.Dir, "tmp", "x.go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	check("after a source was written beside the output", false)
	if err := os.Remove(filepath.Join(h.Dir, "tmp", "x.go")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(h.Dir, versionFile)); err != nil {
		t.Fatal(err)
	}
	check("after a source was removed", true)
}
