// Package loop runs the reload loop as a developer does, in a private checkout:
// "make dev" in containers, or "make dev-host" without. Tests see one Loop.
package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/load"
)

// Kind is where the loop runs.
type Kind string

// The kinds.
const (
	Host      Kind = "host"
	Container Kind = "container"
)

const (
	// firstStart bounds a start that may have to build an image.
	firstStart = 8 * time.Minute
	// reload bounds the wait for an edit. The loop's own bar is far below.
	reload = 2 * time.Minute
)

// The loop's lines.
var (
	Serving   = regexp.MustCompile(`^serving  .*\(pid (\d+)\)`)
	Reloaded  = regexp.MustCompile(`^reloaded in ([0-9.]+)s  \(detect .*, build .*, start .*, swap .*\)`)
	Unchanged = regexp.MustCompile(`^no reload: .* pid \d+ keeps serving`)
	Failed    = regexp.MustCompile(`^(build failed in|the new build |reload failed:)`)
	// Outcome is any line that ends a reload.
	Outcome = regexp.MustCompile(`^(reloaded in|no reload:|build failed in|the new build |reload failed:)`)
)

// A Loop is a running loop.
type Loop struct {
	Kind     Kind
	Checkout *checkout.Checkout
	Port     int
	Debug    int    // the debugger's port
	Project  string // its compose project
	Process  *command.Process

	janitor *janitor.Janitor
	env     []string
	edits   int
	token   string // an administrator's, once it was asked for
}

// New prepares a checkout with its own settings. Env is added to the
// environment of what runs in it.
func New(ctx context.Context, j *janitor.Janitor, kind Kind, env ...string) (*Loop, error) {
	c, err := checkout.New(ctx, j)
	if err != nil {
		return nil, err
	}
	ports, err := checkout.Ports(2)
	if err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("PLATFORM_PORT=%d\nDEBUG_PORT=%d\n", ports[0], ports[1])
	if err := c.Write(".env", settings, checkout.InPlace); err != nil {
		return nil, err
	}
	c.Accept()
	l := &Loop{Kind: kind, Checkout: c, Port: ports[0], Debug: ports[1], janitor: j, env: env}
	if code, out, err := l.Make(ctx, "env"); err != nil || code != 0 {
		return nil, errors.Join(fmt.Errorf("make env: exit code %d: %s", code, out), err)
	}
	complete, err := c.Env()
	if err != nil {
		return nil, err
	}
	l.Project = complete["COMPOSE_PROJECT_NAME"]
	if l.Project == "" {
		return nil, errors.New("make env gave no COMPOSE_PROJECT_NAME")
	}
	if kind == Container {
		err = j.Add(janitor.Project(l.Project))
	}
	return l, err
}

// Addr is where the platform answers.
func (l *Loop) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)) }

// DebugAddr is where an editor attaches.
func (l *Loop) DebugAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Debug)) }

// Root is the checkout's path where the loop runs.
func (l *Loop) Root() string {
	if l.Kind == Container {
		return "/workspace"
	}
	return l.Checkout.Dir
}

// Make runs one of the Makefile's targets to its end.
func (l *Loop) Make(ctx context.Context, target string) (int, string, error) {
	return command.Run(ctx, command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run, Env: l.env}, "make", target)
}

// Token returns the first administrator's token, which stays the same.
func (l *Loop) Token(ctx context.Context) (string, error) {
	if l.token != "" {
		return l.token, nil
	}
	code, out, err := l.Make(ctx, "token")
	if err == nil && code != 0 {
		err = fmt.Errorf("make token: exit code %d: %s", code, out)
	}
	if err == nil {
		l.token = strings.TrimSpace(out)
	}
	return l.token, err
}

// Load starts a load of the platform; Addr and Token of the options are set.
func (l *Loop) Load(ctx context.Context, opts load.Options) (*load.Load, error) {
	var err error
	opts.Addr = l.Addr()
	if opts.Token, err = l.Token(ctx); err != nil {
		return nil, err
	}
	return load.Start(ctx, opts)
}

// Start starts the loop and waits until the platform answers.
func (l *Loop) Start(ctx context.Context) error {
	target := "dev-host"
	if l.Kind == Container {
		target = "dev"
	}
	if err := l.Launch(target); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, firstStart)
	defer cancel()
	ctx, stop := l.alive(ctx)
	defer stop()
	if _, err := l.Process.Out.Wait(ctx, 0, Serving); err != nil {
		return err
	}
	if _, err := l.Ready(ctx); err != nil {
		return fmt.Errorf("it says that it serves, but: %w", err)
	}
	return nil
}

// Launch starts a target that stays in the foreground.
func (l *Loop) Launch(target string) error {
	var err error
	l.Process, err = command.Start(command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run, Env: l.env}, "make", target)
	return err
}

// alive returns a context that ends when the loop does.
func (l *Loop) alive(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := l.Process.Done() // of this start; there may be another soon
	go func() {
		select {
		case <-ended:
			cancel(errors.New("the loop ended"))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Interrupt presses Ctrl-C and waits for the end.
func (l *Loop) Interrupt(ctx context.Context) (int, error) {
	l.Process.Signal(syscall.SIGINT)
	return l.Process.Wait(ctx)
}

// Close stops the loop and removes everything it made.
func (l *Loop) Close(ctx context.Context) error {
	var errs []error
	if l.Process != nil {
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		_, err := l.Interrupt(wait)
		errs = append(errs, err)
	}
	if l.Kind == Container {
		errs = append(errs, l.janitor.Remove(ctx, janitor.Project(l.Project)))
	}
	return errors.Join(append(errs, l.Checkout.Close(ctx))...)
}

// Ready is what /readyz tells.
type Ready struct {
	Status   string
	PID      int
	Build    string
	Database struct{ Driver string }
}

// Ready asks the platform until it answers that it is ready.
func (l *Loop) Ready(ctx context.Context) (Ready, error) {
	ctx, cancel := context.WithTimeout(ctx, reload)
	defer cancel()
	for {
		status, body, err := load.Get(ctx, l.Addr(), "/readyz")
		var r Ready
		if err == nil && status == 200 {
			return r, json.Unmarshal(body, &r)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return r, fmt.Errorf("GET /readyz: status %d, %w: %s", status, errors.Join(err, ctx.Err()), body)
		}
	}
}

// State is what "devloop status" prints.
type State struct {
	PID      int
	Loop     int
	Reloads  int
	Building bool
	Failure  string
	Debugger string // who is attached
}

// Status asks the loop.
func (l *Loop) Status(ctx context.Context) (State, error) {
	out, err := l.Exec(ctx, "devloop", "status")
	var s State
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// Exec runs a program where the loop runs, in the repository's root.
func (l *Loop) Exec(ctx context.Context, args ...string) (string, error) {
	if l.Kind == Container {
		id, err := l.ContainerID(ctx)
		if err != nil {
			return "", err
		}
		return engine.Docker(ctx, append([]string{"exec", id}, args...)...)
	}
	path := "PATH=" + l.Checkout.Path(".tools/bin") + ":" + os.Getenv("PATH")
	if args[0] == "devloop" {
		args[0] = l.Checkout.Path(".tools/bin/devloop")
	}
	code, out, err := command.Run(ctx, command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run, Env: []string{path}}, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
	return out, err
}

// ContainerID returns the platform's container.
func (l *Loop) ContainerID(ctx context.Context) (string, error) {
	out, err := engine.Docker(ctx, "ps", "-aq", "--filter", "label=com.docker.compose.project="+l.Project, "--filter", "label=com.docker.compose.service=platform")
	if err == nil && len(strings.Fields(out)) != 1 {
		err = fmt.Errorf("the project has %d platform containers, want 1", len(strings.Fields(out)))
	}
	return strings.TrimSpace(out), err
}

// Processes lists what runs under a program's name in the loop, of the go
// command for instance.
func (l *Loop) Processes(ctx context.Context, name string) ([]int, error) {
	if l.Kind == Container {
		id, err := l.ContainerID(ctx)
		if err != nil {
			return nil, err
		}
		out, err := engine.Docker(ctx, "exec", id, "sh", "-c", "pgrep -x "+name+" || true")
		if err != nil {
			return nil, err
		}
		return numbers(out)
	}
	var pids []int
	for _, p := range command.Running(l.Checkout.Run) {
		if p.Is(name) {
			pids = append(pids, p.PID)
		}
	}
	return pids, nil
}

func numbers(text string) ([]int, error) {
	var out []int
	for _, f := range strings.Fields(text) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// Kill sends SIGKILL to a process of the loop.
func (l *Loop) Kill(ctx context.Context, pid int) error {
	if l.Kind == Host {
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	_, err := l.Exec(ctx, "kill", "-9", strconv.Itoa(pid))
	return err
}
