package reconcile

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/provision/docker"
	"workspace-server/internal/provision/process"
	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/testkit"
	"workspace-server/internal/workspace"
)

// machine is a driver whose instances are entries of a table, and which fails on
// demand. The real drivers have tests of their own.
type machine struct {
	mu        sync.Mutex
	instances map[string]provision.Instance
	starts    map[string]int // by workspace and generation
	fail      map[string]error
	hook      func(ctx context.Context, call string) // before a call has its effect
	after     func(call string)                      // and after
}

func newMachine() *machine {
	return &machine{instances: map[string]provision.Instance{}, starts: map[string]int{}, fail: map[string]error{}}
}

func (m *machine) call(ctx context.Context, name string, effect func()) error {
	m.mu.Lock()
	hook, after, err := m.hook, m.after, m.fail[name]
	m.mu.Unlock()
	if hook != nil {
		hook(ctx, name)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	effect()
	m.mu.Unlock()
	if after != nil {
		after(name)
	}
	return nil
}

func (m *machine) Start(ctx context.Context, spec provision.Spec) (i provision.Instance, err error) {
	err = m.call(ctx, "start", func() {
		if old, ok := m.instances[spec.Workspace]; !ok || old.Generation < spec.Generation {
			m.starts[fmt.Sprint(spec.Workspace, " ", spec.Generation)]++
			m.instances[spec.Workspace] = provision.Instance{
				Workspace: spec.Workspace, Generation: spec.Generation, State: provision.Running, Address: "127.0.0.1:1", Started: time.Now(),
			}
		}
		i = m.instances[spec.Workspace]
	})
	return i, err
}

func (m *machine) Stop(ctx context.Context, id string, _ time.Duration) error {
	return m.call(ctx, "stop", func() {
		if i, ok := m.instances[id]; ok {
			i.State = provision.Exited
			m.instances[id] = i
		}
	})
}

func (m *machine) Remove(ctx context.Context, id string, _ bool) error {
	return m.call(ctx, "remove", func() { delete(m.instances, id) })
}

func (m *machine) Inspect(ctx context.Context, id string) (i provision.Instance, err error) {
	absent := false
	err = m.call(ctx, "inspect", func() {
		var ok bool
		i, ok = m.instances[id]
		absent = !ok
	})
	if err == nil && absent {
		err = provision.Absent(id)
	}
	return i, err
}

func (m *machine) List(ctx context.Context) (all []provision.Instance, err error) {
	err = m.call(ctx, "list", func() {
		for _, i := range m.instances {
			all = append(all, i)
		}
	})
	return all, err
}

func (m *machine) Logs(context.Context, string, int, bool) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

func (m *machine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// bareOutfit gives an instance nothing.
type bareOutfit struct{ err error }

func (o bareOutfit) Outfit(_ context.Context, c workspace.Claim) (provision.Spec, error) {
	return provision.Spec{Workspace: c.ID, Generation: c.Generation}, o.err
}

func (o bareOutfit) Remove(context.Context, string, bool) error { return nil }

// site is a machine with servers that share a database.
type site struct {
	t       *testing.T
	db      *store.DB
	store   *store.Store
	machine *machine
	log     *testkit.Buffer
	wake    chan struct{}
}

// eachSite runs fn on each kind of database, in parallel with other tests.
func eachSite(t *testing.T, fn func(t *testing.T, s *site)) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, database storetest.Database) { fn(t, newSite(t, database)) })
}

func newSite(t *testing.T, database storetest.Database) *site {
	t.Helper()
	s := &site{t: t, db: database.Migrated(t), machine: newMachine(), log: &testkit.Buffer{}, wake: make(chan struct{}, 1)}
	s.store = store.New(s.db, func(int64) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	return s
}

// server returns a reconciler that does not run yet.
func (s *site) server(name string, o Outfitter) *Reconciler {
	return &Reconciler{
		Desk: s.store, Provisioner: s.machine, Outfitter: o, Server: name,
		Log: slog.New(slog.NewTextHandler(s.log, nil)), Wake: s.wake,
		pace: pace{poll: 50 * time.Millisecond, renew: 50 * time.Millisecond, sweep: 50 * time.Millisecond},
	}
}

// run runs a server until the function that is returned is called.
func (s *site) run(name string, o Outfitter) (stop func()) { return s.start(s.server(name, o)) }

func (s *site) start(r *Reconciler) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return stop
}

func (s *site) create() string {
	s.t.Helper()
	w, err := workspace.New(workspace.Spec{Name: "a", Start: true}, time.Now())
	if err == nil {
		w, err = s.store.Create(s.t.Context(), w, workspace.Request{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return w.ID
}

func (s *site) ask(id string, a workspace.Action) {
	s.t.Helper()
	if _, err := s.store.Ask(s.t.Context(), id, a, "tok_a", nil); err != nil {
		s.t.Fatal(err)
	}
}

// until waits until a workspace fits.
func (s *site) until(id, what string, fits func(workspace.Work) bool) workspace.Work {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		w, err := s.store.Work(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if fits(w) {
			return w
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is %+v, want %s; the log:\n%s", id, w, what, s.log)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *site) untilState(id string, want workspace.State) workspace.Work {
	s.t.Helper()
	return s.until(id, string(want), func(w workspace.Work) bool { return w.Status.State == want })
}

// untilFailed waits until a generation of a workspace has failed, and returns
// how. It reads the transitions, since the next try may be over before it looks.
func (s *site) untilFailed(id string, generation int64) workspace.Transition {
	s.t.Helper()
	var failed workspace.Transition
	s.until(id, fmt.Sprintf("failed in generation %d", generation), func(workspace.Work) bool {
		all, err := s.store.Transitions(s.t.Context(), id, 0, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		at := slices.IndexFunc(all, func(tr workspace.Transition) bool {
			return tr.To == workspace.StateFailed && tr.Generation == generation
		})
		if at >= 0 {
			failed = all[at]
		}
		return at >= 0
	})
	return failed
}

// hurry lets the time pass until a workspace that failed is started again.
func (s *site) hurry() {
	s.t.Helper()
	s.exec(`UPDATE workspaces SET due = 1 WHERE state = 'failed'`)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *site) exec(changes ...string) {
	s.t.Helper()
	if err := s.db.Exclusive(s.t.Context(), func(tx *sql.Tx) error {
		for _, change := range changes {
			if _, err := tx.ExecContext(s.t.Context(), change); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

func provisioned(w workspace.Work) bool { return w.Provisioned == w.Generation }

// ready is what an agent says once it serves.
func (s *site) ready(id string) {
	s.t.Helper()
	w := s.until(id, "provisioned", provisioned)
	if _, err := s.store.Ready(s.t.Context(), id, w.Generation); err != nil {
		s.t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		s.run("one", bareOutfit{})
		s.run("two", bareOutfit{})
		id := s.create()
		s.ready(id)
		s.untilState(id, workspace.StateRunning)
		s.ask(id, workspace.Pause)
		s.untilState(id, workspace.StatePaused)
		s.ask(id, workspace.Start)
		s.ready(id)
		s.ask(id, workspace.Restart)
		s.ready(id)
		s.ask(id, workspace.Hibernate)
		s.untilState(id, workspace.StateHibernated)
		if err := s.store.Delete(t.Context(), id, workspace.Refuse, false, nil); err != nil {
			t.Fatal(err)
		}
		s.untilUnknown(id)
		s.machine.set(func() {
			if len(s.machine.instances) != 0 || len(s.machine.starts) != 3 {
				t.Errorf("there are %+v of the starts %v, want none of three", s.machine.instances, s.machine.starts)
			}
			for start, times := range s.machine.starts {
				if times != 1 {
					t.Errorf("%s was started %d times", start, times)
				}
			}
		})
		if strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("the log:\n%s", s.log)
		}
	})
}

// The reconciler restarts an agent whose process has ended or is gone.
func TestCrashIsNoticed(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		s.run("one", bareOutfit{})
		id := s.create()
		s.ready(id)
		s.machine.set(func() {
			i := s.machine.instances[id]
			i.State, i.ExitCode = provision.Exited, 7
			s.machine.instances[id] = i
		})
		if failed := s.untilFailed(id, 1); !strings.Contains(failed.Message, "exit code 7") {
			t.Errorf("the transition is %+v, want the exit code in its message", failed)
		}
		again := s.until(id, "started again", func(w workspace.Work) bool {
			s.hurry()
			return w.Generation == 2 && provisioned(w)
		})
		if again.Desired != workspace.StateRunning {
			t.Errorf("it is %+v, want it to be wanted still", again)
		}
		s.ready(id)
		s.machine.set(func() { delete(s.machine.instances, id) })
		if gone := s.untilFailed(id, 2); !strings.Contains(gone.Message, "is gone") {
			t.Errorf("the transition is %+v, want a message that the process is gone", gone)
		}
	})
}

// A server restarts a silent agent, but not while it could hear none: neither just
// after its own start, nor after an outage.
func TestSilentAgent(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		id := s.create()
		r := s.server("one", bareOutfit{})
		step := func(want int) {
			t.Helper()
			jobs, err := r.claim(t.Context(), 8)
			if err != nil || len(jobs) != want {
				t.Fatalf("claim() = %d jobs, %v, want %d", len(jobs), err, want)
			}
			for _, job := range jobs {
				job(t.Context())
			}
		}
		step(1)
		registration := workspace.Registration{Generation: 1, Card: []byte(`{"name":"a"}`)}
		if err := s.store.Register(t.Context(), id, registration); err != nil {
			t.Fatal(err)
		}
		err := s.db.Exclusive(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `UPDATE agents SET lease_until = 0`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, since := range []*time.Time{nil, new(time.Now())} {
			r.hearsSince.Store(since)
			if err := r.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			step(0)
			if err := s.store.Nudge(t.Context(), []string{id}); err != nil {
				t.Fatal(err)
			}
			step(1)
			s.untilState(id, workspace.StateRunning)
		}
		r.hearsSince.Store(new(time.Now().Add(-workspace.AgentLease - time.Second)))
		if err := r.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		step(1)
		lost := s.untilState(id, workspace.StateFailed)
		if lost.Status.Reason != string(workspace.Lost) || s.machine.instances[id].State != provision.Exited {
			t.Errorf("it is %+v, the instance %+v, want it to be lost, and ended", lost, s.machine.instances[id])
		}
	})
}

// A driver that fails says nothing about what runs.
func TestHiccup(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		id := s.create()
		r := s.server("one", bareOutfit{})
		step := func() {
			t.Helper()
			jobs, err := r.claim(t.Context(), 8)
			if err != nil || len(jobs) != 1 {
				t.Fatalf("claim() = %d jobs, %v, want 1", len(jobs), err)
			}
			jobs[0](t.Context())
		}
		step()
		s.ready(id)
		s.machine.fail["list"] = errors.New("hiccup")
		s.machine.fail["inspect"] = errors.New("hiccup")
		if err := r.sweep(t.Context()); err == nil {
			t.Error("sweep() = nil, want an error")
		}
		if err := s.store.Nudge(t.Context(), []string{id}); err != nil {
			t.Fatal(err)
		}
		before, began := s.untilState(id, workspace.StateRunning), time.Now()
		step()
		after := s.untilState(id, workspace.StateRunning)
		if after.Revision != before.Revision || after.Due < began.Add(firstRetry).UnixMilli() {
			t.Errorf("after a hiccup it is %+v, want it as it was, and to be looked at later", after)
		}
	})
}

// The owner of a workspace reads why it does not start and what to do, if the error
// says so, and nothing else of the error.
func TestBrokenStart(t *testing.T) {
	missing := workspace.Wrap(workspace.Unavailable, "The image x is missing. Build it.", errors.New("/host/path"))
	for _, tt := range []struct {
		name          string
		outfit, start error
		want          string
	}{
		{"told by the outfitter", workspace.Errorf(workspace.Invalid, "The template x is gone."), nil, "The template x is gone."},
		{"hidden by the outfitter", errors.New("password=hunter2"), nil, "The workspace could not be prepared for its start. The server's log says why."},
		{"told by the driver", nil, fmt.Errorf("start generation 1: %w", missing), "The image x is missing. Build it."},
		{"hidden by the driver", nil, errors.New("/host/path"), "The workspace could not be started. The server's log says why."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSite(t, func(t *testing.T, s *site) {
				if tt.start != nil {
					s.machine.fail["start"] = tt.start
				}
				s.run("one", bareOutfit{tt.outfit})
				id := s.create()
				if failed, want := s.untilFailed(id, 1), tt.want+" The server tries again in 1s."; failed.Message != want {
					t.Errorf("the message is %q, want %q", failed.Message, want)
				}
				s.ask(id, workspace.Pause)
				s.untilState(id, workspace.StatePaused)
				if err := cmp.Or(tt.outfit, tt.start); !strings.Contains(s.log.String(), err.Error()) {
					t.Errorf("the log does not have the error:\n%s", s.log)
				}
			})
		})
	}
}

// What the drivers advise is in the status of a workspace, as they say it.
func TestDriversAdvise(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	processes, err := process.New(process.Settings{Directory: inTheWay})
	if err != nil {
		t.Fatal(err)
	}
	containers, err := docker.New(docker.Settings{Host: "unix://" + filepath.Join(t.TempDir(), "no.sock"), Installation: "test", Image: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		driver provision.Provisioner
		want   string
	}{
		{"process", processes, "A file is in the place of a directory below STATE_DIRECTORY. Move it away: the server's log names it. The server tries again in 1s."},
		{"docker", containers, "The Docker engine does not run, or listens elsewhere. Start it, or set DOCKER_HOST to where it listens. The server tries again in 1s."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSite(t, func(t *testing.T, s *site) {
				id := s.create()
				r := s.server("one", placed{})
				r.Provisioner = tt.driver
				jobs, err := r.claim(t.Context(), 1)
				if err != nil || len(jobs) != 1 {
					t.Fatalf("claim() = %d jobs, %v, want 1", len(jobs), err)
				}
				jobs[0](t.Context())
				w := s.untilState(id, workspace.StateFailed)
				if w.Status.Message != tt.want {
					t.Errorf("the message is %q, want %q; the log:\n%s", w.Status.Message, tt.want, s.log)
				}
			})
		})
	}
}

// placed gives an instance a tier and a directory, without which drivers refuse it.
type placed struct{ bareOutfit }

func (p placed) Outfit(ctx context.Context, c workspace.Claim) (provision.Spec, error) {
	spec, err := p.bareOutfit.Outfit(ctx, c)
	spec.Tier, spec.Configs = 1, "/configs"
	return spec, err
}

// A request does not wait for a slow step.
func TestStepIsGivenUp(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		entered := make(chan struct{}, 10)
		s.machine.hook = func(ctx context.Context, call string) {
			if call == "start" {
				entered <- struct{}{}
				<-ctx.Done()
			}
		}
		s.run("one", bareOutfit{})
		id := s.create()
		<-entered
		s.ask(id, workspace.Pause)
		s.untilState(id, workspace.StatePaused)
	})
}

// A panic ends its step alone.
func TestPanic(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		bad := s.create()
		s.machine.hook = func(context.Context, string) { panic("boom") }
		jobs, err := s.server("one", bareOutfit{}).claim(t.Context(), 1)
		if err != nil || len(jobs) != 1 {
			t.Fatalf("claim() = %d jobs, %v", len(jobs), err)
		}
		jobs[0](t.Context())
		w, err := s.store.Work(t.Context(), bad)
		if err != nil || w.Status.State != workspace.StateStarting || w.Due <= time.Now().UnixMilli() || !strings.Contains(s.log.String(), "boom") {
			t.Errorf("after a panic it is %+v, %v, want it to be tried later; the log:\n%s", w, err, s.log)
		}
	})
}

// untilUnknown waits until nothing is left of a workspace.
func (s *site) untilUnknown(id string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		known, err := s.store.Known(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if !known {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not removed; the log:\n%s", id, s.log)
		}
	}
}

// An agent may say that it is ready before the server that started it has
// recorded where it is, or although that server never does.
func TestReadyBeforeRecorded(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		early := s.create()
		s.machine.after = func(call string) {
			if call == "start" {
				if _, err := s.store.Ready(t.Context(), early, 1); err != nil {
					t.Errorf("Ready() = %v", err)
				}
			}
		}
		s.die(early)
		s.machine.after = nil
		s.run("second", bareOutfit{})
		// Two writes record that it is provisioned and that nothing is due.
		w := s.until(early, "provisioned and left alone", func(w workspace.Work) bool { return provisioned(w) && w.Due == 0 })
		if w.Status.State != workspace.StateRunning || w.Address == "" {
			t.Errorf("it is %+v, want it running at an address", w)
		}
	})
}

// die does the step of a server that ends before it records anything, with a
// claim whose lease ends with it.
func (s *site) die(id string) {
	s.t.Helper()
	claims, err := s.store.Claim(s.t.Context(), "doomed", -time.Second, 1)
	if err != nil || len(claims) != 1 || claims[0].ID != id {
		s.t.Fatalf("Claim() = %+v, %v", claims, err)
	}
	_, _ = s.server("doomed", bareOutfit{}).step(s.t.Context(), claims[0])
}

// The reconciler ends an instance that should not run, and removes an instance of
// no workspace once that is old.
func TestStrays(t *testing.T) {
	eachSite(t, func(t *testing.T, s *site) {
		id := s.create()
		stop := s.run("one", bareOutfit{})
		s.ready(id)
		s.ask(id, workspace.Pause)
		s.untilState(id, workspace.StatePaused)
		stop()
		s.machine.set(func() {
			s.machine.instances[id] = provision.Instance{Workspace: id, Generation: 1, State: provision.Running, Started: time.Now()}
			s.machine.instances["ws_old"] = provision.Instance{Workspace: "ws_old", State: provision.Running, Started: time.Now().Add(-2 * orphanGrace)}
			s.machine.instances["ws_new"] = provision.Instance{Workspace: "ws_new", State: provision.Running, Started: time.Now()}
		})
		s.run("two", bareOutfit{})
		for deadline := time.Now().Add(30 * time.Second); ; {
			var stray provision.State
			var old, fresh bool
			s.machine.set(func() {
				stray = s.machine.instances[id].State
				_, old = s.machine.instances["ws_old"]
				_, fresh = s.machine.instances["ws_new"]
			})
			if !fresh {
				t.Fatal("what was made just now is removed")
			}
			if stray == provision.Exited && !old {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the stray is %s, the old orphan there: %v", stray, old)
			}
			time.Sleep(5 * time.Millisecond)
		}
		s.untilState(id, workspace.StatePaused)
	})
}
