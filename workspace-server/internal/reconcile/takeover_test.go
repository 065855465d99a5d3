//go:build unix

package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// gone stands for the state of a deleted workspace.
const gone workspace.State = "gone"

// TestTakeOver kills a server at each boundary of each kind of step. Another one
// finishes the work, and nothing shows that there were two.
func TestTakeOver(t *testing.T) {
	const start = "Claim Outfit Files.Make CreateAgentToken Provisioner.Start Observe"
	for _, tt := range []takeOver{
		{
			name: "start", calls: start, prepare: func(*installation, string) {},
			states: "starting running", made: []int64{1},
		},
		{
			name: "restart", calls: start,
			prepare: func(i *installation, id string) { i.runs(id); i.ask(id, workspace.Restart) },
			states:  "starting running starting running", made: []int64{1, 2},
		},
		{
			name: "pause", calls: "Claim Provisioner.Stop Observe",
			prepare: func(i *installation, id string) { i.runs(id); i.ask(id, workspace.Pause) },
			states:  "starting running pausing paused", made: []int64{1},
		},
		{
			name: "hibernate", calls: "Claim Provisioner.Stop Observe",
			prepare: func(i *installation, id string) { i.runs(id); i.ask(id, workspace.Hibernate) },
			states:  "starting running hibernating hibernated", made: []int64{1},
		},
		{
			name: "crash", calls: "Claim Provisioner.Inspect Observe",
			prepare: func(i *installation, id string) { i.runs(id); i.crash(id) },
			states:  "starting running failed starting running", made: []int64{1, 2},
		},
		{
			name: "retry", calls: "Claim Observe",
			prepare: func(i *installation, id string) { i.runs(id); i.crash(id); i.step(); i.hurry() },
			states:  "starting running failed starting running", made: []int64{1, 2},
		},
		{
			name: "remove", calls: "ClaimRemovals Provisioner.Remove Outfitter.Remove Removed",
			prepare: func(i *installation, id string) { i.runs(id); i.delete(id) },
			states:  "starting running gone", made: []int64{1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, database storetest.Database) {
				var reached []string
				for i := install(t, database); ; {
					boundary := i.takeOver(tt, len(reached)+1)
					if boundary == "" {
						break
					}
					reached = append(reached, boundary)
				}
				slices.Sort(reached)
				if want := tt.boundaries(); !slices.Equal(reached, want) {
					t.Errorf("servers were killed %q, want %q", reached, want)
				}
			})
		})
	}
}

// takeOver is a step that several servers do.
type takeOver struct {
	name    string
	calls   string                           // that the step makes, the claim first
	prepare func(i *installation, id string) // brings a workspace that starts to where the step is due
	states  string                           // that the workspace is in, one after the other
	made    []int64                          // the generations of its agents
}

func (o takeOver) boundaries() []string {
	calls := strings.Fields(o.calls)
	all := []string{"after " + calls[0]}
	for _, call := range calls[1:] {
		all = append(all, "before "+call, "after "+call)
	}
	slices.Sort(all)
	return all
}

// installation is a site with a real driver and real files, and a server of it that
// is well.
type installation struct {
	*site
	database storetest.Database
	well     *Reconciler
}

func install(t *testing.T, database storetest.Database) *installation {
	t.Helper()
	i := &installation{site: newSite(t, database), database: database}
	var err error
	i.well, err = newServer(i.store, database.Dir, "well", slog.New(slog.NewTextHandler(i.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	i.well.Wake = i.wake
	t.Cleanup(func() {
		// The test's own context is over by now.
		left, err := i.well.Provisioner.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, in := range left {
			if err := i.well.Provisioner.Remove(context.Background(), in.Workspace, false); err != nil {
				t.Error(err)
			}
		}
	})
	return i
}

// takeOver has a server killed at a boundary, and checks what another one makes of
// it. It returns the boundary's name, which is empty if there are fewer.
func (i *installation) takeOver(o takeOver, number int) string {
	t := i.t
	t.Helper()
	last, err := i.store.LastEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := i.create()
	o.prepare(i, id)
	began := time.Now()
	boundary := i.doomed(number)
	calls := strings.Fields(o.calls)
	if boundary != "" && boundary != "after "+calls[len(calls)-1] {
		// On a machine that is very slow, the claim may be over.
		if jobs, err := i.well.claim(t.Context(), workers); (err != nil || len(jobs) > 0) && time.Since(began) < lease {
			t.Errorf("killed %s: claim() = %d jobs, %v, want none while the claim lasts", boundary, len(jobs), err)
		}
	}
	i.expire()
	stop := i.start(i.well)
	states := strings.Fields(o.states)
	final := workspace.State(states[len(states)-1])
	switch final {
	case gone:
		i.untilUnknown(id)
	case workspace.StateRunning:
		i.ready(id, o.made[len(o.made)-1])
	default:
		i.untilState(id, final)
	}
	stop()

	what := cmp.Or(boundary, "never")
	if final == gone {
		i.wantNothing(what, id)
	} else {
		i.wantTransitions(what, id, states)
		i.wantTokens(what, id, o.made[len(o.made)-1])
		i.wantRecord(what, id, o.made[len(o.made)-1])
	}
	i.wantAgents(what, id, o.made, final == workspace.StateRunning)
	i.wantEvents(what, id, last, states)
	if strings.Contains(i.log.String(), "level=") {
		t.Errorf("killed %s: the other server's log:\n%s", what, i.log)
	}
	if final != gone {
		i.delete(id)
		i.step()
		i.wantNothing(what, id)
		i.wantAgents(what, id, o.made, false)
	}
	return boundary
}

// doomed runs a server of its own process that is killed at a boundary, and
// returns its name.
func (i *installation) doomed(number int) string {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), time.Minute)
	defer cancel()
	exe, err := os.Executable()
	if err != nil {
		i.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe, "doomed", i.database.URL, i.database.Dir, strconv.Itoa(number))
	cmd.Env = append(os.Environ(), envRace+"="+noLinger)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	boundary := strings.TrimSpace(out.String())
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL
	if killed != (boundary != "") || err != nil && !killed || ctx.Err() != nil || log.Len() > 0 {
		i.t.Fatalf("the server that is killed at boundary %d, %q: %v; its log:\n%s", number, boundary, err, &log)
	}
	return boundary
}

// expire ends all claims.
func (i *installation) expire() {
	i.t.Helper()
	i.exec(`UPDATE workspaces SET owner_until = 0`, `UPDATE removals SET owner_until = 0`)
}

// step has the server that is well do the only step that is due.
func (i *installation) step() {
	i.t.Helper()
	jobs, err := i.well.claim(i.t.Context(), workers)
	if err != nil || len(jobs) != 1 {
		i.t.Fatalf("claim() = %d jobs, %v, want 1", len(jobs), err)
	}
	jobs[0](i.t.Context())
}

// runs has the server that is well bring a workspace up.
func (i *installation) runs(id string) {
	i.t.Helper()
	i.step()
	i.ready(id, 1)
}

// ready says, for the agent of a generation, that it is ready, once it is.
func (i *installation) ready(id string, generation int64) {
	i.t.Helper()
	i.until(id, "provisioned, and its agent up", func(w workspace.Work) bool {
		if w.Status.State == workspace.StateFailed {
			i.hurry()
		}
		return w.Generation == generation && provisioned(w) &&
			slices.ContainsFunc(i.made(id), func(m made) bool { return m.generation == generation })
	})
	if w, err := i.store.Ready(i.t.Context(), id, generation); err != nil || w.Status.State != workspace.StateRunning {
		i.t.Fatalf("Ready() = %+v, %v", w, err)
	}
}

// crash ends the agent of a workspace, and makes the workspace due.
func (i *installation) crash(id string) {
	i.t.Helper()
	all := i.made(id)
	if err := syscall.Kill(all[len(all)-1].pid, syscall.SIGKILL); err != nil {
		i.t.Fatal(err)
	}
	i.until(id, "without an agent", func(workspace.Work) bool {
		in, err := i.well.Provisioner.Inspect(i.t.Context(), id)
		return err == nil && in.State == provision.Exited
	})
	if err := i.store.Nudge(i.t.Context(), []string{id}); err != nil {
		i.t.Fatal(err)
	}
}

func (i *installation) delete(id string) {
	i.t.Helper()
	if err := i.store.Delete(i.t.Context(), id, workspace.Refuse, false, nil); err != nil {
		i.t.Fatal(err)
	}
}

// made returns the agents that were made for a workspace.
func (i *installation) made(id string) []made {
	i.t.Helper()
	all, err := allMade(i.database.Dir, id)
	if err != nil {
		i.t.Fatal(err)
	}
	return all
}

// wantAgents checks that there was one agent of each generation, and that of
// them the last one at most is left, with a token that is good.
func (i *installation) wantAgents(killed, id string, generations []int64, running bool) {
	i.t.Helper()
	all := i.made(id)
	var got []int64
	for n, m := range all {
		got = append(got, m.generation)
		err := syscall.Kill(m.pid, 0)
		if want := running && n == len(all)-1; want != (err == nil) {
			i.t.Errorf("killed %s: the agent of generation %d: signal 0: %v, want it to run: %v", killed, m.generation, err, want)
		}
	}
	if !slices.Equal(got, generations) {
		i.t.Errorf("killed %s: agents of the generations %v were made, want %v", killed, got, generations)
	}
	if !running || len(all) == 0 {
		return
	}
	if _, err := i.store.Authenticate(i.t.Context(), all[len(all)-1].token.Hash()); err != nil {
		i.t.Errorf("killed %s: the token of the agent that runs: %v", killed, err)
	}
}

// wantTransitions checks the transitions of a workspace.
func (i *installation) wantTransitions(killed, id string, states []string) {
	i.t.Helper()
	all, err := i.store.Transitions(i.t.Context(), id, 0, 100)
	if err != nil {
		i.t.Fatal(err)
	}
	slices.Reverse(all)
	var got []string
	for n, tr := range all {
		got = append(got, string(tr.To))
		if tr.Revision != int64(n+1) || n > 0 && tr.From != all[n-1].To {
			i.t.Errorf("killed %s: transition %d is %+v, want it to follow the one before", killed, n+1, tr)
		}
	}
	if !slices.Equal(got, states) {
		i.t.Errorf("killed %s: the transitions lead to %q, want %q", killed, got, states)
	}
}

// wantEvents checks the events since one.
func (i *installation) wantEvents(killed, id string, last int64, states []string) {
	i.t.Helper()
	all, err := i.store.Events(i.t.Context(), "", last, 100)
	if err != nil {
		i.t.Fatal(err)
	}
	var got []string
	for n, e := range all {
		var w workspace.Workspace
		if err := json.Unmarshal(e.Data, &w); err != nil {
			i.t.Fatal(err)
		}
		if e.Seq != last+int64(n+1) || e.Workspace != id {
			i.t.Errorf("killed %s: event %d is %+v, want number %d, of %s", killed, n+1, e, last+int64(n+1), id)
		}
		state := w.Status.State
		if e.Type == workspace.EventDeleted {
			state = gone
		} else if w.Revision != int64(n+1) {
			i.t.Errorf("killed %s: event %d has revision %d", killed, n+1, w.Revision)
		}
		got = append(got, string(state))
	}
	if !slices.Equal(got, states) {
		i.t.Errorf("killed %s: the events tell %q, want %q", killed, got, states)
	}
}

// wantTokens checks that all tokens are of one generation; 0: that there are none.
func (i *installation) wantTokens(killed, id string, generation int64) {
	i.t.Helper()
	all, _, err := i.store.Tokens(i.t.Context(), workspace.Cursor{}, 100)
	if err != nil {
		i.t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(t token.Token) bool { return t.Workspace != id })
	if (len(all) > 0) != (generation > 0) {
		i.t.Errorf("killed %s: the tokens are %+v", killed, all)
	}
	for _, t := range all {
		if want := fmt.Sprintf("agent, generation %d", generation); t.Name != want {
			i.t.Errorf("killed %s: there is a token %q, want %q only", killed, t.Name, want)
		}
	}
}

// wantRecord checks that the driver has a record of one generation of a workspace.
func (i *installation) wantRecord(killed, id string, generation int64) {
	i.t.Helper()
	entries, err := os.ReadDir(filepath.Join(i.database.Dir, "agents", id))
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if want := []string{fmt.Sprint(generation), "home"}; err != nil || !slices.Equal(got, want) {
		i.t.Errorf("killed %s: the driver keeps %q, %v, want %q", killed, got, err, want)
	}
}

// wantNothing checks that nothing is left of a workspace.
func (i *installation) wantNothing(killed, id string) {
	i.t.Helper()
	if known, err := i.store.Known(i.t.Context(), id); known || err != nil {
		i.t.Errorf("killed %s: Known() = %v, %v, want false", killed, known, err)
	}
	i.wantTokens(killed, id, 0)
	for _, dir := range []string{"agents", "workspaces"} {
		if _, err := os.Lstat(filepath.Join(i.database.Dir, dir, id)); !errors.Is(err, os.ErrNotExist) {
			i.t.Errorf("killed %s: %s are left: %v", killed, dir, err)
		}
	}
}
