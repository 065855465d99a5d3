//go:build unix

package provisiontest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/provision"
)

func testStart(w *world) {
	w.wantAbsent(w.p)
	before := time.Now().Add(-5 * time.Second) // another machine's clock
	in := w.started(1, nil)
	if in.Started.Before(before) || in.Started.After(time.Now().Add(5*time.Second)) || in.Message != "" || in.ExitCode != 0 {
		w.t.Errorf("Start = %+v, want that it started now, and nothing of an end", in)
	}
	w.wantSame("Inspect by the other server", w.inspect(), in)
	w.wantAgents(1)
}

func testStartAgain(w *world) {
	first := w.started(7, nil)
	for name, p := range map[string]provision.Provisioner{"the same": w.p, "the other": w.other, "a new": w.connect()} {
		again, err := p.Start(w.ctx, w.spec(7, nil))
		if err != nil {
			w.t.Fatalf("Start again by %s server = %v", name, err)
		}
		w.wantSame("Start again by "+name+" server", again, first)
	}
	w.wantAgents(1)
}

func testStartExited(w *world) {
	spec := w.spec(1, map[string]string{envExit: "3"})
	if _, err := w.p.Start(w.ctx, spec); err != nil {
		w.t.Fatalf("Start = %v", err)
	}
	first := w.exited()
	again, err := w.other.Start(w.ctx, spec)
	if err != nil {
		w.t.Fatalf("Start again = %v", err)
	}
	w.wantSame("Start again", again, first)
	w.wantExited(1, 3)
	w.wantAgents(0)
	w.started(2, nil)
	w.wantAgents(1)
}

func testStartLater(w *world) {
	w.started(1, map[string]string{"WHICH": "first"})
	for _, generation := range []int64{2, 10} {
		in := w.started(generation, map[string]string{"WHICH": strconv.FormatInt(generation, 10)})
		w.wantSame("Inspect", w.inspect(), in)
		w.wantAgents(1)
		if got := w.env(in)["WHICH"]; got != strconv.FormatInt(generation, 10) {
			w.t.Errorf("the agent of generation %d answers that it is %s", generation, got)
		}
	}
}

func testStartLaterStubborn(w *world) {
	w.started(1, map[string]string{envIgnoreTerm: "1"})
	w.started(2, nil)
	w.wantAgents(1)
}

func testStartEarlier(w *world) {
	in := w.started(5, nil)
	refused := func() {
		w.t.Helper()
		if got, err := w.other.Start(w.ctx, w.spec(4, nil)); err == nil || provision.IsAbsent(err) {
			w.t.Errorf("Start of an earlier generation = %+v, %v, want an error", got, err)
		}
	}
	refused()
	w.wantSame("Inspect", w.inspect(), in)
	w.wantAgents(1)
	if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	refused()
	w.wantExited(5, 0)
	w.wantAgents(0)
}

func testStartCancelled(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if in, err := w.p.Start(ctx, w.spec(1, nil)); !errors.Is(err, context.Canceled) {
		w.t.Errorf("Start with a context that is done = %+v, %v, want %v", in, err, context.Canceled)
	}
	w.started(1, nil)
	w.wantAgents(1)
}

// Wherever a start is cut off, the next finds or makes the instance.
func testStartCancelledMidway(w *world) {
	generation := int64(0)
	for _, after := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 128} {
		generation++
		ctx, cancel := context.WithTimeout(w.ctx, after*time.Millisecond)
		_, err := w.p.Start(ctx, w.spec(generation, nil))
		cancel()
		if err != nil && ctx.Err() == nil {
			w.t.Errorf("Start with %v = %v, which has nothing to do with that", after*time.Millisecond, err)
		}
		in, err := w.other.Start(w.ctx, w.spec(generation, nil))
		if err != nil || in.State != provision.Running || in.Generation != generation {
			w.t.Fatalf("Start after one that was cut off at %v = %+v, %v, want it running", after*time.Millisecond, in, err)
		}
		w.ready(in)
		w.wantAgents(1)
	}
}

func testStartPartial(w *world) {
	if len(w.h.Partial) == 0 {
		w.t.Fatal("the harness does not say what a crash leaves")
	}
	next := map[string]func(w *world, spec provision.Spec){
		"start again": func(w *world, spec provision.Spec) { w.started(spec.Generation, nil); w.wantAgents(1) },
		"start later": func(w *world, spec provision.Spec) { w.started(spec.Generation+1, nil); w.wantAgents(1) },
		"stop and start later": func(w *world, spec provision.Spec) {
			if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
				w.t.Errorf("Stop = %v", err)
			}
			w.wantAgents(0)
			w.started(spec.Generation+1, nil)
			w.wantAgents(1)
		},
		"remove": func(w *world, _ provision.Spec) {
			if err := w.p.Remove(w.ctx, w.id, false); err != nil {
				w.t.Errorf("Remove = %v", err)
			}
			w.wantAbsent(w.p)
			w.wantAgents(0)
		},
	}
	for step, leave := range w.h.Partial {
		for action, do := range next {
			for _, earlier := range []bool{false, true} {
				w.t.Run(fmt.Sprintf("%s, %s, earlier %t", step, action, earlier), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, w.h)
					if earlier {
						w.started(1, nil)
					}
					spec := w.spec(2, nil)
					leave(t, w.p, spec)
					do(w, spec)
				})
			}
		}
	}
}

func testStop(w *world) {
	in := w.started(1, nil)
	begun := time.Now()
	if err := w.other.Stop(w.ctx, w.id, time.Hour); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	if took := time.Since(begun); took > limit/2 {
		w.t.Errorf("Stop took %v, although the agent ends at once", took)
	}
	w.wantExited(1, 0)
	w.wantAgents(0)
	if _, err := w.call("GET", in.Address, "/env"); err == nil {
		w.t.Errorf("the agent answers at %s after Stop", in.Address)
	}
	// A stopped instance stays stopped until there is a later generation.
	again, err := w.p.Start(w.ctx, w.spec(1, nil))
	if err != nil {
		w.t.Fatalf("Start again = %v", err)
	}
	w.wantSame("Start again", again, w.inspect())
	w.wantAgents(0)
	w.started(2, nil)
}

func testStopStubborn(w *world) {
	w.started(1, map[string]string{envIgnoreTerm: "1"})
	if err := w.p.Stop(w.ctx, w.id, 200*time.Millisecond); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	w.wantExited(1, 137)
	w.wantAgents(0)
}

func testStopWithoutGrace(w *world) {
	w.started(1, map[string]string{envIgnoreTerm: "1"})
	if err := w.p.Stop(w.ctx, w.id, 0); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	w.wantExited(1, 137)
	w.wantAgents(0)
}

// A Stop that was cut off can come again.
func testStopCancelled(w *world) {
	w.started(1, map[string]string{envIgnoreTerm: "1"})
	ctx, cancel := context.WithTimeout(w.ctx, 200*time.Millisecond)
	defer cancel()
	if err := w.p.Stop(ctx, w.id, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		w.t.Errorf("Stop, cut off = %v, want %v", err, context.DeadlineExceeded)
	}
	w.wantAgents(1)
	if err := w.other.Stop(w.ctx, w.id, 0); err != nil {
		w.t.Fatalf("Stop again = %v", err)
	}
	w.wantExited(1, 137)
	w.wantAgents(0)
}

func testStopNone(w *world) {
	if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
		w.t.Errorf("Stop of none = %v", err)
	}
	w.wantAbsent(w.other)
	w.started(1, nil)
	for range 2 {
		if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
			w.t.Errorf("Stop = %v", err)
		}
		w.wantExited(1, 0)
	}
}

func testExit(w *world) {
	for i, code := range []int{0, 1, 3, 255} {
		generation := int64(i + 1)
		in := w.started(generation, nil)
		_, _ = w.call("POST", in.Address, "/exit", "code", strconv.Itoa(code)) // it cannot answer
		exited := w.exited()
		w.wantExited(generation, code)
		if !exited.Started.Equal(in.Started) || exited.Address != in.Address && exited.Address != "" {
			w.t.Errorf("Inspect of what has exited = %+v, want what Start returned, %+v", exited, in)
		}
		w.wantAgents(0)
	}
}

func testRemove(w *world) {
	if err := w.p.Remove(w.ctx, w.id, false); err != nil {
		w.t.Errorf("Remove of none = %v", err)
	}
	for _, env := range []map[string]string{nil, {envIgnoreTerm: "1"}} {
		w.started(9, env)
		for range 2 {
			if err := w.other.Remove(w.ctx, w.id, false); err != nil {
				w.t.Errorf("Remove = %v", err)
			}
			w.wantAbsent(w.p)
			w.wantAgents(0)
		}
	}
	// The driver has forgotten the earlier generations.
	w.started(1, nil)
	if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
		w.t.Errorf("Stop = %v", err)
	}
	if err := w.p.Remove(w.ctx, w.id, false); err != nil {
		w.t.Errorf("Remove of what was stopped = %v", err)
	}
	w.wantAbsent(w.other)
}

func testList(w *world) {
	var want []provision.Instance
	for i := range 3 {
		w.id = w.newID()
		want = append(want, w.started(int64(i+1), nil))
	}
	if err := w.p.Stop(w.ctx, w.id, time.Minute); err != nil {
		w.t.Fatalf("Stop = %v", err)
	}
	want[2] = w.inspect()
	got, err := w.other.List(w.ctx)
	if err != nil || len(got) != len(want) {
		w.t.Fatalf("List = %+v, %v, want %+v", got, err, want)
	}
	for _, list := range [][]provision.Instance{got, want} {
		slices.SortFunc(list, func(a, b provision.Instance) int { return cmp.Compare(a.Workspace, b.Workspace) })
	}
	for i := range got {
		w.wantSame("List", got[i], want[i])
	}
}

func testAnotherInstallation(w *world) {
	in := w.started(3, nil)
	stranger := newWorld(w.t, w.h)
	stranger.id = w.id // ids do not tell installations apart
	stranger.workspaces = []string{w.id}
	untouched := func(call string) {
		w.t.Helper()
		w.wantSame("Inspect after "+call+" in another installation", w.inspect(), in)
		w.wantAgents(1)
	}
	stranger.wantAbsent(stranger.p)
	if list, err := stranger.p.List(w.ctx); err != nil || len(list) > 0 {
		w.t.Errorf("List of another installation = %+v, %v, want none", list, err)
	}
	if _, err := stranger.p.Logs(w.ctx, w.id, -1, false); !provision.IsAbsent(err) {
		w.t.Errorf("Logs of another installation's instance = %v, want that it is absent", err)
	}
	if err := stranger.p.Stop(w.ctx, w.id, 0); err != nil {
		w.t.Errorf("Stop = %v", err)
	}
	untouched("Stop")
	if err := stranger.p.Remove(w.ctx, w.id, false); err != nil {
		w.t.Errorf("Remove = %v", err)
	}
	untouched("Remove")
	stranger.started(1, nil)
	untouched("Start")
	if list, err := w.p.List(w.ctx); err != nil || len(list) != 1 {
		w.t.Errorf("List beside another installation = %+v, %v, want one", list, err)
	}
	if err := stranger.p.Remove(w.ctx, w.id, false); err != nil {
		w.t.Errorf("Remove = %v", err)
	}
	stranger.wantAbsent(stranger.p)
	untouched("Remove of its own")
}

// env returns the agent's environment.
func (w *world) env(in provision.Instance) map[string]string {
	w.t.Helper()
	text, err := w.call("GET", in.Address, "/env")
	env := map[string]string{}
	if err = errors.Join(err, json.Unmarshal([]byte(text), &env)); err != nil {
		w.t.Fatalf("the agent's environment: %v", err)
	}
	return env
}

func testEnvironment(w *world) {
	w.t.Setenv("DATABASE_URL", "postgres://the-server-alone")
	want := map[string]string{
		"WORKSPACE_TOKEN": "secret", "EMPTY": "", "QUOTED": `a "b" $HOME 'c' \n`, "LINES": "one\ntwo\n", "EQUAL": "a=b=c", "UNICODE": "héé 世界",
	}
	in := w.started(1, want)
	got := w.env(in)
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			w.t.Errorf("the agent has %s=%q, want %q", name, v, value)
		}
	}
	for name, value := range got {
		if strings.Contains(value, "the-server-alone") {
			w.t.Errorf("the agent has %s of the server's", name)
		}
	}
	// A change of the environment is for the next generation.
	got = w.env(w.started(2, map[string]string{"EMPTY": "no more"}))
	if _, ok := got["QUOTED"]; ok || got["EMPTY"] != "no more" {
		w.t.Errorf("the next generation has the environment %q, want its own", got)
	}
}

func testConfigs(w *world) {
	path := filepath.Join(w.configs, "prompts", "system.md")
	write := func(text string) {
		w.t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			w.t.Fatal(err)
		}
	}
	in := w.started(1, nil)
	wantFile := func(what, want string) {
		w.t.Helper()
		if got := w.file(in, provision.EnvConfigs, "prompts/system.md"); got != want {
			w.t.Errorf("%s: the agent reads %q, want %q", what, got, want)
		}
	}
	wantFile("before", "no file")
	write("made")
	wantFile("made", "made")
	write("edited")
	wantFile("edited", "edited")
	other := filepath.Join(w.configs, ".new")
	if err := errors.Join(os.WriteFile(other, []byte("replaced\r\n"), 0o644), os.Rename(other, path)); err != nil {
		w.t.Fatal(err)
	}
	wantFile("replaced", "replaced\r\n")
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		w.t.Fatal(err)
	}
	wantFile("deleted", "no file")
	write("again")
	if err := w.p.Remove(w.ctx, w.id, false); err != nil {
		w.t.Fatalf("Remove = %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "again" {
		w.t.Errorf("after Remove the server's file has %q, %v, want what it had", text, err)
	}
}

func testPlugins(w *world) {
	root := w.t.TempDir()
	plugins := map[string]string{}
	for _, name := range []string{"one", "two.v2"} {
		plugins[name] = filepath.Join(root, "stored-"+name)
		if err := errors.Join(os.Mkdir(plugins[name], 0o755), os.WriteFile(filepath.Join(plugins[name], "plugin.yaml"), []byte(name), 0o644)); err != nil {
			w.t.Fatal(err)
		}
	}
	start := func(generation int64, plugins map[string]string) provision.Instance {
		w.t.Helper()
		spec := w.spec(generation, nil)
		spec.Plugins = plugins
		in, err := w.p.Start(w.ctx, spec)
		if err != nil {
			w.t.Fatalf("Start with plugins %q = %v", plugins, err)
		}
		w.ready(in)
		return in
	}
	wantNames := func(in provision.Instance, want string) {
		w.t.Helper()
		if got, err := w.call("GET", in.Address, "/names", "in", provision.EnvPlugins); err != nil || got != want {
			w.t.Errorf("the agent sees the plugins %q, %v, want %q", got, err, want)
		}
	}
	in := start(1, plugins)
	wantNames(in, "one\ntwo.v2\n")
	for name, dir := range plugins {
		if got := w.file(in, provision.EnvPlugins, name+"/plugin.yaml"); got != name {
			w.t.Errorf("the agent reads %q in plugin %s, want %q", got, name, name)
		}
		if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte("edited"), 0o644); err != nil {
			w.t.Fatal(err)
		}
		if got := w.file(in, provision.EnvPlugins, name+"/plugin.yaml"); got != "edited" {
			w.t.Errorf("the agent reads %q in plugin %s after an edit, want what was edited", got, name)
		}
		_, err := w.call("PUT", in.Address, "/file", "in", provision.EnvPlugins, "name", name+"/written")
		if w.h.ReadOnlyPlugins && err == nil {
			w.t.Errorf("the agent may write to plugin %s", name)
		}
	}
	delete(plugins, "one")
	wantNames(start(2, plugins), "two.v2\n")
	wantNames(start(3, nil), "")
	if err := w.p.Remove(w.ctx, w.id, false); err != nil {
		w.t.Fatalf("Remove = %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "stored-one", "plugin.yaml")); err != nil || string(text) != "edited" {
		w.t.Errorf("after Remove the server's plugin has %q, %v, want what it had", text, err)
	}
}
