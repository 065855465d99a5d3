//go:build unix

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"workspace-server/internal/catalog"
	"workspace-server/internal/files"
	"workspace-server/internal/outfit"
	"workspace-server/internal/provision"
	"workspace-server/internal/provision/process"
	"workspace-server/internal/store"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// Names in the environment of the agents.
const (
	envMade = "TEST_MADE" // the file where each writes down that it was made
	envRace = "GORACE"    // the race detector would let each linger at its end
)

const noLinger = "atexit_sleep_ms=0"

// agent is the program of each instance. It ends after two minutes if no one ends it.
func agent([]string) error {
	f, err := os.OpenFile(os.Getenv(envMade), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getenv(outfit.EnvID), os.Getenv(outfit.EnvGeneration), os.Getpid(), os.Getenv(outfit.EnvToken))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	time.Sleep(2 * time.Minute)
	return errors.New("no one has ended this agent")
}

// made is an agent that was made.
type made struct {
	generation int64
	pid        int
	token      token.Secret
}

// allMade returns the agents of a workspace in the order in which they were made.
func allMade(dir, id string) ([]made, error) {
	text, err := os.ReadFile(filepath.Join(dir, "made"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var all []made
	for line := range strings.Lines(string(text)) {
		var of string
		var m made
		if _, err := fmt.Sscan(line, &of, &m.generation, &m.pid, &m.token); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if of == id {
			all = append(all, m)
		}
	}
	return all, nil
}

// values is an environment for all workspaces.
type values map[string]string

func (v values) Values(context.Context, string) (map[string]string, error) { return v, nil }

// newServer returns a server with a real driver and real files, in the directory of
// its installation.
func newServer(s *store.Store, dir, owner string, log *slog.Logger) (*Reconciler, error) {
	l := outfit.Maker{
		Files: files.New(dir), Attached: s, Plugins: catalog.NewPlugins(filepath.Join(dir, "plugins")), Tokens: s,
		Secrets:  values{envMade: filepath.Join(dir, "made"), envRace: noLinger},
		Platform: "http://127.0.0.1:1",
	}
	driver, err := process.New(process.Settings{Directory: filepath.Join(dir, "agents")})
	return &Reconciler{Desk: s, Provisioner: driver, Outfitter: l, Server: owner, Log: log}, err
}

// doomed runs a server that does one step, and is killed at a boundary of it.
// Its arguments are the database's URL, the directory, and the boundary's number.
func doomed(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("doomed %q: want a URL, a directory and a number", args)
	}
	number, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	db, err := store.Open(ctx, args[0], args[1], log)
	if err != nil {
		return err
	}
	defer db.Close()
	s := store.New(db, func(int64) {})
	r, err := newServer(s, args[1], "doomed", log)
	if err != nil {
		return err
	}
	f := &fate{over: cancel}
	f.left.Store(number)
	l := r.Outfitter.(outfit.Maker)
	l.Files, l.Tokens = fatedFiles{files.New(args[1]), f}, fatedTokens{s, f}
	r.Desk, r.Provisioner, r.Outfitter = fatedDesk{s, f}, fatedProvisioner{r.Provisioner, f}, fatedOutfitter{l, f}
	r.Run(ctx)
	if !f.given.Load() {
		return errors.New("there was nothing to do")
	}
	return nil
}

// fate kills this process at one of the boundaries that it crosses: before and
// after each call of a step that has an effect on something outside.
type fate struct {
	left  atomic.Int64 // how many until then
	given atomic.Bool  // a step was handed out, and no second one is
	over  func()       // called when the step's claim is released
}

// cross crosses a boundary, or prints its name and kills this process.
func (f *fate) cross(boundary string) {
	if f.left.Add(-1) != 0 {
		return
	}
	_, _ = fmt.Println(boundary)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (f *fate) around(call string, fn func() error) error {
	f.cross("before " + call)
	err := fn()
	f.cross("after " + call)
	return err
}

// last is around the call that releases a claim.
func (f *fate) last(call string, fn func() error) error {
	defer f.over()
	return f.around(call, fn)
}

// hand is around a call that hands out a claim. How often it hands out none is
// chance, and changes nothing.
func hand[T any](f *fate, call string, fn func() ([]T, error)) ([]T, error) {
	if f.given.Load() {
		return nil, nil
	}
	claims, err := fn()
	if len(claims) > 0 {
		f.given.Store(true)
		f.cross("after " + call)
	}
	return claims, err
}

// fatedDesk has no boundaries around calls that the clock makes, not the step:
// Renew, and those of a sweep.
type fatedDesk struct {
	workspace.Desk
	*fate
}

func (d fatedDesk) Claim(ctx context.Context, owner string, lease time.Duration, limit int) ([]workspace.Claim, error) {
	return hand(d.fate, "Claim", func() ([]workspace.Claim, error) { return d.Desk.Claim(ctx, owner, lease, limit) })
}

func (d fatedDesk) ClaimRemovals(ctx context.Context, owner string, lease time.Duration, limit int) ([]workspace.Removal, error) {
	return hand(d.fate, "ClaimRemovals", func() ([]workspace.Removal, error) { return d.Desk.ClaimRemovals(ctx, owner, lease, limit) })
}

func (d fatedDesk) Observe(ctx context.Context, c workspace.Claim, o workspace.Observation) error {
	return d.last("Observe", func() error { return d.Desk.Observe(ctx, c, o) })
}

func (d fatedDesk) Release(ctx context.Context, c workspace.Claim, after time.Duration) error {
	return d.last("Release", func() error { return d.Desk.Release(ctx, c, after) })
}

func (d fatedDesk) Removed(ctx context.Context, r workspace.Removal) error {
	return d.last("Removed", func() error { return d.Desk.Removed(ctx, r) })
}

func (d fatedDesk) RetryRemoval(ctx context.Context, r workspace.Removal, after time.Duration) error {
	return d.last("RetryRemoval", func() error { return d.Desk.RetryRemoval(ctx, r, after) })
}

type fatedProvisioner struct {
	provision.Provisioner
	*fate
}

func (p fatedProvisioner) Start(ctx context.Context, spec provision.Spec) (in provision.Instance, err error) {
	err = p.around("Provisioner.Start", func() error { in, err = p.Provisioner.Start(ctx, spec); return err })
	return in, err
}

func (p fatedProvisioner) Stop(ctx context.Context, id string, grace time.Duration) error {
	return p.around("Provisioner.Stop", func() error { return p.Provisioner.Stop(ctx, id, grace) })
}

func (p fatedProvisioner) Remove(ctx context.Context, id string, keepData bool) error {
	return p.around("Provisioner.Remove", func() error { return p.Provisioner.Remove(ctx, id, keepData) })
}

func (p fatedProvisioner) Inspect(ctx context.Context, id string) (in provision.Instance, err error) {
	err = p.around("Provisioner.Inspect", func() error { in, err = p.Provisioner.Inspect(ctx, id); return err })
	return in, err
}

type fatedOutfitter struct {
	Outfitter
	*fate
}

func (o fatedOutfitter) Outfit(ctx context.Context, c workspace.Claim) (spec provision.Spec, err error) {
	err = o.around("Outfit", func() error { spec, err = o.Outfitter.Outfit(ctx, c); return err })
	return spec, err
}

func (o fatedOutfitter) Remove(ctx context.Context, id string, keepData bool) error {
	return o.around("Outfitter.Remove", func() error { return o.Outfitter.Remove(ctx, id, keepData) })
}

type fatedFiles struct {
	files.Dir
	*fate
}

func (d fatedFiles) Make(id string) (path string, err error) {
	err = d.around("Files.Make", func() error { path, err = d.Dir.Make(id); return err })
	return path, err
}

type fatedTokens struct {
	*store.Store
	*fate
}

func (s fatedTokens) CreateAgentToken(ctx context.Context, t token.Token, hash string, generation int64) error {
	return s.around("CreateAgentToken", func() error { return s.Store.CreateAgentToken(ctx, t, hash, generation) })
}
