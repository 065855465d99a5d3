//go:build unix

// Package provisiontest holds the tests that every driver of provision passes,
// and the agent that the drivers run in them.
package provisiontest

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/provision"
)

// Harness is what the tests must know of a driver.
type Harness struct {
	// Install makes an empty installation, which is gone after the test. It
	// returns a function that makes a driver of it, as each of its servers does.
	Install func(t *testing.T) (connect func() provision.Provisioner)

	// Env goes into the environment of every agent. With that, the driver must
	// run Agent.
	Env map[string]string

	// Partial has a function for each step of a Start at which its server may end:
	// it leaves what such a server leaves.
	Partial map[string]func(t *testing.T, p provision.Provisioner, spec provision.Spec)

	// ReadOnlyPlugins says that the driver keeps agents from writing to their
	// plugins.
	ReadOnlyPlugins bool
}

// Run tests a driver. Each case has an installation of its own, so all but the one
// that changes the server's environment run in parallel: they mostly wait, for
// processes or for an engine.
func Run(t *testing.T, h Harness) {
	cases := []struct {
		name string
		test func(*world)
	}{
		{"start", testStart},
		{"start again", testStartAgain},
		{"start again what has exited", testStartExited},
		{"start of a later generation", testStartLater},
		{"start in the place of one that ignores SIGTERM", testStartLaterStubborn},
		{"start of an earlier generation", testStartEarlier},
		{"start, cancelled before", testStartCancelled},
		{"start, cancelled in the middle", testStartCancelledMidway},
		{"start after a crash", testStartPartial},
		{"start by two servers at once", testStartAtOnce},
		{"start of several generations at once", testGenerationsAtOnce},
		{"everything at once", testEverythingAtOnce},
		{"stop", testStop},
		{"stop of one that ignores SIGTERM", testStopStubborn},
		{"stop without grace", testStopWithoutGrace},
		{"stop, cancelled", testStopCancelled},
		{"stop of none", testStopNone},
		{"exit", testExit},
		{"remove", testRemove},
		{"list", testList},
		{"another installation", testAnotherInstallation},
		{"configs", testConfigs},
		{"plugins", testPlugins},
		{"logs", testLogs},
		{"logs, followed", testLogsFollow},
		{"logs, followed from the end", testLogsFollowFromEnd},
		{"logs, closed", testLogsClosed},
		{"logs, cancelled", testLogsCancelled},
		{"logs of one that is removed", testLogsRemoved},
		{"logs of none", testLogsNone},
	}
	t.Run("environment", func(t *testing.T) { testEnvironment(newWorld(t, h)) })
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(newWorld(t, h))
		})
	}
}

// world is an installation with two servers, and a workspace of it.
type world struct {
	t          *testing.T
	h          Harness
	ctx        context.Context
	p, other   provision.Provisioner // the two servers'
	connect    func() provision.Provisioner
	id         string
	configs    string
	workspaces []string // all that were used
}

// limit is how long one test may take.
const limit = 2 * time.Minute

// newWorld makes a world. After the test nothing of it may be left.
func newWorld(t *testing.T, h Harness) *world {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	connect := h.Install(t)
	w := &world{t: t, h: h, ctx: ctx, p: connect(), other: connect(), connect: connect, configs: t.TempDir()}
	if err := os.WriteFile(filepath.Join(w.configs, lockFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.id = w.newID()
	t.Cleanup(func() {
		// The time of the test may be over, with that of all its subtests.
		w.ctx, cancel = context.WithTimeout(context.Background(), limit)
		defer cancel()
		for _, id := range w.workspaces {
			if err := w.other.Remove(w.ctx, id, false); err != nil {
				t.Errorf("Remove(%s) = %v", id, err)
			}
		}
		if left, err := w.p.List(w.ctx); err != nil || len(left) > 0 {
			t.Errorf("List after all were removed = %+v, %v, want none", left, err)
		}
		w.wantAgents(0)
	})
	return w
}

func (w *world) newID() string {
	id := "ws_" + strings.ToLower(rand.Text())
	w.workspaces = append(w.workspaces, id)
	return id
}

// spec returns what to start, and has the agent do what env says.
func (w *world) spec(generation int64, env map[string]string) provision.Spec {
	s := provision.Spec{Workspace: w.id, Generation: generation, Tier: 1, Env: map[string]string{envAgent: "1"}, Configs: w.configs}
	maps.Copy(s.Env, w.h.Env)
	maps.Copy(s.Env, env)
	return s
}

// start starts a generation, which must then run.
func (w *world) start(generation int64, env map[string]string) provision.Instance {
	w.t.Helper()
	in, err := w.p.Start(w.ctx, w.spec(generation, env))
	if err != nil || in.Workspace != w.id || in.Generation != generation || in.State != provision.Running || in.Address == "" {
		w.t.Fatalf("Start(generation %d) = %+v, %v, want it running, with an address", generation, in, err)
	}
	return in
}

// ready waits until the agent answers.
func (w *world) ready(in provision.Instance) {
	w.t.Helper()
	w.eventually("the agent at "+in.Address+" answers", func() error {
		_, err := w.call("GET", in.Address, "/env", "")
		return err
	})
}

// started starts a generation and waits until its agent answers.
func (w *world) started(generation int64, env map[string]string) provision.Instance {
	w.t.Helper()
	in := w.start(generation, env)
	w.ready(in)
	return in
}

func (w *world) inspect() provision.Instance {
	w.t.Helper()
	in, err := w.other.Inspect(w.ctx, w.id)
	if err != nil {
		w.t.Fatalf("Inspect(%s) = %v", w.id, err)
	}
	return in
}

// wantAbsent checks that there is no instance.
func (w *world) wantAbsent(p provision.Provisioner) {
	w.t.Helper()
	if in, err := p.Inspect(w.ctx, w.id); !provision.IsAbsent(err) {
		w.t.Errorf("Inspect(%s) = %+v, %v, want that it is absent", w.id, in, err)
	}
}

// exited waits until the workspace's instance has exited.
func (w *world) exited() provision.Instance {
	w.t.Helper()
	var in provision.Instance
	w.eventually("the instance exits", func() (err error) {
		if in, err = w.p.Inspect(w.ctx, w.id); err == nil && in.State != provision.Exited {
			err = errors.New("it is " + string(in.State))
		}
		return err
	})
	return in
}

// wantExited checks how the workspace's instance has ended.
func (w *world) wantExited(generation int64, code int) {
	w.t.Helper()
	in := w.inspect()
	if in.State != provision.Exited || in.Generation != generation || in.ExitCode != code || in.Message == "" {
		w.t.Errorf("Inspect = %+v, want generation %d, exited with code %d, and a message", in, generation, code)
	}
}

// wantAgents checks how many processes of agents there are.
func (w *world) wantAgents(want int) {
	w.t.Helper()
	got, err := agents(w.configs)
	if err != nil || got != want {
		w.t.Errorf("there are %d processes of agents, %v, want %d", got, err, want)
	}
}

func (w *world) wantSame(call string, got, want provision.Instance) {
	w.t.Helper()
	if !got.Started.Equal(want.Started) {
		w.t.Errorf("%s: started %v, want %v", call, got.Started, want.Started)
	}
	got.Started = want.Started
	if got != want {
		w.t.Errorf("%s = %+v, want %+v", call, got, want)
	}
}

// eventually asks again until there is no error.
func (w *world) eventually(what string, ask func() error) {
	w.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-w.ctx.Done():
			w.t.Fatalf("%s: not in time: %v", what, err)
		}
	}
}
