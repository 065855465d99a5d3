package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"devloop/internal/air"
	"devloop/internal/control"
	"devloop/internal/delve"
	"devloop/internal/filenames"
	"devloop/internal/gobuild"
	"devloop/internal/listener"
	"devloop/internal/loop"
	"devloop/internal/process"
	"devloop/internal/relay"
	"devloop/internal/report"
	"devloop/internal/settings"
	"devloop/internal/supervisor"
)

// handoverTimeout delays the report of a reload for programs that do not say
// STOPPING=1. For others it is long enough even on a busy machine.
const handoverTimeout = 2 * time.Second

// up runs the loop until ctx is done.
func up(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	root, err := workingDirectory()
	if err != nil {
		return err
	}
	opts, err := parseUp(args, root, std.err)
	if err != nil {
		return err
	}
	if info, err := os.Stat(opts.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory: name the Go module's directory with -C", opts.dir)
	}
	if opts.dir, err = filepath.EvalSymlinks(opts.dir); err != nil {
		return fmt.Errorf("find the Go module: %w", err)
	}
	// The commands that air runs there look for the loop in their directory
	// and above.
	if rel, err := filepath.Rel(root, opts.dir); err != nil || !filepath.IsLocal(rel) {
		return &usageError{fmt.Errorf("%s is not in %s: run 'devloop up' there or above", opts.dir, root)}
	}
	ctx, stopWaiting := untilHangup(ctx, os.Stdout, os.Stderr)
	defer stopWaiting()
	if err := needConfiguration(opts.dir, opts.air); err != nil {
		return err
	}
	place, err := control.Claim(getenv, opts.root)
	if err != nil {
		return err
	}
	defer place.Release()
	sockets, err := listener.Open(ctx, opts.listen)
	if err != nil {
		return err
	}
	defer sockets.Close()
	commands, err := net.Listen("unix", place.Socket())
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	defer commands.Close()

	starter := process.NewStarter()
	defer starter.Close()
	printer := report.New(std.out, opts.root, opts.dir)
	server := &supervisor.Supervisor{
		Starter: starter, Listeners: sockets.Files(), Names: opts.names, RunDir: place.Dir,
		Mode: supervisor.Mode(opts.mode), Backends: opts.backend, Setenv: opts.setenv, ReadyPath: opts.ready,
		ReadyTimeout: opts.readyTimeout, DrainTimeout: opts.drainTimeout, StopTimeout: opts.stopTimeout,
		HandoverTimeout: handoverTimeout,
		Output:          printer, Reporter: printer,
	}
	server.Init()
	reloads := &loop.Loop{
		Dir: opts.dir, Announce: opts.announce,
		Starter: starter, Server: server, Printer: printer,
	}
	env, err := watcherEnv(os.Environ(), getenv)
	if err != nil {
		return err
	}
	watcher := &air.Keeper{Starter: starter, Command: opts.air, Dir: opts.dir, Env: env, Reporter: printer}
	reloads.Ignore, reloads.Watches = watcher.Ruled, watcher.Watches
	opts.listen = sockets.Addresses()
	debugger := &relay.Relay{
		Server: server, Refresh: reloads.Refresh, Restart: reloads.Restart, Reporter: printer,
		Launcher: &delve.Launcher{Starter: starter, Program: opts.debugger, Dir: place.Dir},
		Names: func(pid int) filenames.Names { // without /proc: those of the files
			return filenames.Of(fmt.Sprintf("/proc/%d/exe", pid), opts.dir, goEnv(opts.dir))
		},
	}
	var tasks, debugging sync.WaitGroup
	if opts.debug != "" {
		clients, err := listener.Listen(ctx, opts.debug)
		if err != nil {
			return err
		}
		opts.debug = clients.Addr().String()
		server.BeforeStop, server.Debugging = debugger.Release, debugger.Debugging
		debugging.Go(func() { debugger.Serve(ctx, clients) })
	}
	answers := &answerer{loop: reloads, server: server, debugger: debugger, printer: printer, options: opts}
	tasks.Go(func() { watcher.Run(ctx) })
	tasks.Go(func() { reloads.Sweep(ctx) })
	if opts.settings != "" {
		file := settings.Open(opts.settings)
		tasks.Go(func() { file.Watch(ctx, func(names []string) { printer.SettingsChanged(opts.settings, names) }) })
	}
	go control.Serve(ctx, commands, answers.handle)
	<-ctx.Done()

	// A second signal kills the children in order, rather than leave them to
	// their parent-death signal.
	hard, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server.End(hard)
	reloads.Close() // before the sockets, which a new process would miss
	sockets.Close()
	debugging.Wait() // a process that a debugger has stopped could not drain
	server.Close(hard)
	tasks.Wait()
	return nil
}

// watcherEnv makes sure that the commands in air's configuration find this
// very program under the name devloop.
func watcherEnv(env []string, getenv func(string) string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's file: %w", err)
	}
	return append(env, "PATH="+filepath.Dir(self)+string(filepath.ListSeparator)+getenv("PATH")), nil
}

// An answerer carries out what devloop's other commands ask for.
type answerer struct {
	loop     *loop.Loop
	server   *supervisor.Supervisor
	debugger *relay.Relay
	printer  *report.Printer
	options  options

	mu  sync.Mutex
	run context.CancelFunc // ends the latest "devloop run"
}

func (a *answerer) handle(ctx context.Context, r control.Request) control.Reply {
	switch r.Op {
	case control.Build:
		request := gobuild.Request{Dir: r.Dir, Args: r.Args, Env: r.Env}
		if _, err := request.Output(); err != nil {
			a.printer.Notice(err.Error())
			return control.Reply{Code: 2, Error: err.Error()}
		}
		return control.Reply{Code: a.loop.Build(request)}
	case control.Command:
		return control.Reply{Code: a.loop.Command(ctx, loop.Command{Script: r.Args[0], Dir: r.Dir, Env: r.Env})}
	case control.Run:
		return a.serve(ctx, r)
	case control.Notice:
		a.printer.Notice(strings.Join(r.Args, " "))
		return control.Reply{}
	case control.Status:
		return control.Reply{State: a.state()}
	case control.Follow:
		return a.printed(ctx, r.Args)
	case control.Wait:
		for a.server.Serving() == 0 {
			changed := a.server.Changed()
			if a.server.Serving() != 0 {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return control.Reply{Code: 1}
			}
		}
		return control.Reply{State: a.state()}
	default:
		return control.Reply{Code: 2, Error: fmt.Sprintf("this loop does not know %q: it may be older than this command, so restart it", r.Op)}
	}
}

// serve runs a binary and returns when air ends the command or asks again: air
// takes the command for the server, so its end would look like a crash.
func (a *answerer) serve(ctx context.Context, r control.Request) control.Reply {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if a.run != nil {
		a.run() // left behind by an air that was killed
	}
	a.run = cancel
	a.mu.Unlock()
	path := r.Args[0]
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Dir, path)
	}
	a.loop.Run(supervisor.Command{Path: path, Args: r.Args[1:], Dir: r.Dir, Env: r.Env})
	<-ctx.Done()
	return control.Reply{}
}

func (a *answerer) state() *control.State {
	s := a.loop.Status()
	var old []control.Old
	for _, o := range a.server.Old() {
		old = append(old, control.Old{
			PID: o.PID, Replaced: o.Replaced, Until: o.Until,
			Requests: o.Load.Requests, Streams: o.Load.Streams, Connections: o.Load.Connections,
		})
	}
	return &control.State{
		PID: s.PID, Loop: os.Getpid(), Root: a.options.root, Listen: a.options.listen, Announce: a.options.announce,
		Mode: string(a.server.InMode()), Old: old,
		Reloads: s.Reloads, Building: s.Building, Failure: s.Failure,
		Debug: a.options.debug, Debugger: a.debugger.Client(),
	}
}

// goEnv returns variables of the go command that builds the server.
func goEnv(dir string) func(name string) string {
	return func(name string) string {
		cmd := exec.Command("go", "env", name)
		cmd.Dir = dir
		out, _ := cmd.Output() // without it, some names stay as the program has them
		return strings.TrimSpace(string(out))
	}
}
