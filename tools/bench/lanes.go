package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"e2e/harness/airtoml"
	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/editor"
	"e2e/harness/engine"
	"e2e/harness/janitor"
	"e2e/harness/load"
	"e2e/harness/loop"
)

const (
	airConfig = "workspace-server/.air.toml"
	module    = "workspace-server"
)

// hostGroup has the lanes that run on this machine, with the embedded database.
func hostGroup(ctx context.Context, j *janitor.Janitor) (*group, error) {
	g := &group{name: "host"}
	add := func(name string, l lane, err error) error {
		if l != nil {
			g.tracks = append(g.tracks, &track{name: name, lane: l, floor: name == floorName})
		}
		return err
	}
	f, err := newHostFloor(ctx, j)
	if err := add(floorName, f, err); err != nil {
		return g, err
	}
	optimised, err := newHostFloor(ctx, j)
	if optimised != nil {
		optimised.build = withoutGcflags(optimised.build)
	}
	if err := add(floorName+", optimised", optimised, err); err != nil {
		return g, err
	}
	ours, err := newLoopLane(ctx, j, loop.Host)
	if err := add(loopName, ours, err); err != nil {
		return g, err
	}
	g.tracks = append(g.tracks, debuggedTrack(ours))
	forwarded, err := newForwardedLane(ctx, j, ours.Checkout.Path(".tools/bin"))
	if forwarded != nil {
		err = add(forwardedName, forwarded, err)
	}
	if err != nil {
		return g, err
	}
	stops, err := newStopFirstLane(ctx, j)
	if stops != nil {
		err = add(stopFirstName, stops, err)
	}
	if err != nil {
		return g, err
	}
	a, err := newAirLane(ctx, j, ours.Checkout.Path(".tools/bin/air"))
	return g, add("air, its defaults", a, err)
}

const (
	floorName = "go build + start"
	loopName  = "this loop"
)

// containerGroup has the lanes that run in the dev image, with Postgres.
func containerGroup(ctx context.Context, j *janitor.Janitor) (*group, error) {
	g := &group{name: "container"}
	ours, err := newLoopLane(ctx, j, loop.Container)
	if ours == nil || err != nil {
		return g, err
	}
	f, err := newContainerFloor(ctx, j, ours.Loop)
	if f != nil {
		g.tracks = append(g.tracks, &track{name: floorName, lane: f, floor: true})
	}
	g.tracks = append(g.tracks, &track{name: loopName, lane: ours}, debuggedTrack(ours))
	return g, err
}

// withoutGcflags takes away what makes the build debuggable.
func withoutGcflags(build string) string {
	return regexp.MustCompile(`-gcflags=\S*'[^']*' `).ReplaceAllString(build, "")
}

// A loopLane is the loop as developers start it.
type loopLane struct{ *loop.Loop }

func newLoopLane(ctx context.Context, j *janitor.Janitor, kind loop.Kind) (*loopLane, error) {
	l, err := loop.New(ctx, j, kind)
	if err != nil {
		return nil, err
	}
	return &loopLane{l}, l.Start(ctx)
}

func (l *loopLane) addr() string { return l.Addr() }

func (l *loopLane) edit(ctx context.Context) (time.Duration, error) {
	e, err := l.Edit(ctx)
	return e.Took, err
}

func (l *loopLane) close(ctx context.Context) error { return l.Close(ctx) }

// A debuggedLane is the loop while an editor is attached.
type debuggedLane struct {
	*loopLane
	attaching []time.Duration
}

func debuggedTrack(l *loopLane) *track {
	return &track{name: loopName + ", debugged", lane: &debuggedLane{loopLane: l}}
}

// edit attaches, which is not counted in, and makes an edit.
func (d *debuggedLane) edit(ctx context.Context) (time.Duration, error) {
	e, err := editor.Connect(ctx, d.DebugAddr(), editor.Reconfigures)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := e.Attach(ctx, d.Checkout.Dir, d.Root(), "", 0); err != nil {
		return 0, errors.Join(fmt.Errorf("attach: %w", err), e.Close())
	}
	d.attaching = append(d.attaching, time.Since(began))
	took, err := d.loopLane.edit(ctx)
	return took, errors.Join(err, e.Disconnect(ctx))
}

// close leaves the loop to the lane that it belongs to.
func (d *debuggedLane) close(context.Context) error { return nil }

// A bare lane edits a checkout that has no loop of ours.
type bare struct {
	checkout *checkout.Checkout
	address  string
	edits    int
}

func newBare(ctx context.Context, j *janitor.Janitor) (bare, error) {
	c, err := checkout.New(ctx, j)
	if err != nil {
		return bare{}, err
	}
	ports, err := checkout.Ports(1)
	if err != nil {
		return bare{}, err
	}
	return bare{checkout: c, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))}, nil
}

// environment is the server's on the host, as scripts/dev-host has it.
func (b *bare) environment() []string {
	return []string{
		"WATCH_RELOAD=1", "ENV=development", "LISTEN_ADDR=" + b.address,
		"STATE_DIRECTORY=" + b.checkout.Path(".state"), "BUILD_TAGS=" + os.Getenv("BUILD_TAGS"),
	}
}

// save makes the next edit and returns its number.
func (b *bare) save() (int, error) {
	b.edits++
	text, err := loop.HealthSource(b.checkout, b.edits)
	if err != nil {
		return 0, err
	}
	return b.edits, b.checkout.Write(loop.Health, text, checkout.InPlace)
}

// config returns the build command of .air.toml, with the go command, and the
// server's command.
func (b *bare) config() (build, server string, err error) {
	text, err := b.checkout.Read(airConfig)
	if err != nil {
		return "", "", err
	}
	c, err := airtoml.Parse(text)
	if err != nil {
		return "", "", err
	}
	build, err = c.GoBuild()
	if err != nil {
		return "", "", err
	}
	if len(c.Build.Entrypoint) < 3 {
		return "", "", fmt.Errorf("%s: entrypoint is %q, want devloop run and a command", airConfig, c.Build.Entrypoint)
	}
	return build, strings.Join(c.Build.Entrypoint[2:], " "), nil
}

// limit bounds one edit of any lane.
const limit = 2 * time.Minute

// A floor builds and starts, and does nothing else: less cannot be done. A
// shell that is there already carries it out.
type floor struct {
	bare
	shell         *exec.Cmd
	in            io.WriteCloser
	log           *os.File
	build, server string
	ended         func(context.Context) error
}

func newHostFloor(ctx context.Context, j *janitor.Janitor) (*floor, error) {
	b, err := newBare(ctx, j)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("sh")
	cmd.Dir = b.checkout.Path(module)
	cmd.Env = command.Environment(append(b.environment(), "E2E_RUN="+b.checkout.Run)...)
	return startFloor(ctx, b, cmd, func(context.Context) error { return nil })
}

// newContainerFloor uses the loop's image, network and caches.
func newContainerFloor(ctx context.Context, j *janitor.Janitor, l *loop.Loop) (*floor, error) {
	b, err := newBare(ctx, j)
	if err != nil {
		return nil, err
	}
	id, err := l.ContainerID(ctx)
	if err != nil {
		return nil, err
	}
	image, err := engine.Docker(ctx, "inspect", "--format", "{{.Config.Image}}", id)
	if err != nil {
		return nil, err
	}
	env, err := engine.Docker(ctx, "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", id)
	if err != nil {
		return nil, err
	}
	networks, err := engine.Docker(ctx, "inspect", "--format", "{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}", id)
	if err != nil {
		return nil, err
	}
	name := "e2e-floor-" + strings.ToLower(b.checkout.Run)
	if err := j.Add(janitor.Container(name)); err != nil {
		return nil, err
	}
	args := []string{
		"run", "-i", "--name", name, "--init", "--user", "dev", "--volumes-from", id + ":rw",
		"-v", b.checkout.Dir + ":/floor", "-w", "/floor/" + module, "-p", b.address + ":8080",
		"--tmpfs", "/floor/" + module + "/tmp:exec,mode=1777",
	}
	for v := range strings.Lines(env) {
		if v = strings.TrimSpace(v); v != "" {
			args = append(args, "-e", v)
		}
	}
	args = append(args, "-e", "LISTEN_ADDR=:8080")
	for network := range strings.FieldsSeq(networks) {
		args = append(args, "--network", network)
	}
	args = append(args, strings.TrimSpace(image), "sh")
	return startFloor(ctx, b, exec.Command("docker", args...), func(ctx context.Context) error {
		return j.Remove(ctx, janitor.Container(name))
	})
}

func startFloor(_ context.Context, b bare, cmd *exec.Cmd, ended func(context.Context) error) (*floor, error) {
	build, server, err := b.config()
	if err != nil {
		return nil, err
	}
	log, err := os.CreateTemp("", "e2e-floor-")
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &floor{b, cmd, in, log, build, server, ended}, nil
}

func (f *floor) addr() string { return "" } // nothing serves during the build

func (f *floor) edit(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := io.WriteString(f.in, `[ -z "$pid" ] || { kill -9 "$pid"; wait "$pid"; }; pid=`+"\n"); err != nil {
		return 0, err
	}
	for f.edits > 0 { // until the one before is gone
		if _, _, err := load.Get(ctx, f.address, "/healthz"); err != nil {
			break
		}
	}
	began := time.Now()
	n, err := f.save()
	if err != nil {
		return 0, err
	}
	if _, err := io.WriteString(f.in, f.build+" && { "+f.server+" & pid=$!; }\n"); err != nil {
		return 0, err
	}
	served, err := loop.AwaitVersion(ctx, f.address, n, nil)
	if err != nil {
		said, _ := os.ReadFile(f.log.Name())
		return 0, fmt.Errorf("%w\n%s", err, said)
	}
	return served.Sub(began), nil
}

func (f *floor) close(ctx context.Context) error {
	f.in.Close()
	err := errors.Join(f.ended(ctx), f.checkout.Close(ctx), os.Remove(f.log.Name()))
	_ = f.shell.Wait() // it was killed
	return err
}

// An airLane is air as it is without settings but what to build and to run.
type airLane struct {
	bare
	process *command.Process
}

func newAirLane(ctx context.Context, j *janitor.Janitor, air string) (*airLane, error) {
	b, err := newBare(ctx, j)
	if err != nil {
		return nil, err
	}
	build, server, err := b.config()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("[build]\ncmd = %q\nentrypoint = [\"%s\"]\n", build, strings.Join(strings.Fields(server), `", "`))
	if err := b.checkout.Write(airConfig, config, checkout.InPlace); err != nil {
		return nil, err
	}
	p, err := command.Start(command.Options{Dir: b.checkout.Path(module), Run: b.checkout.Run, Env: b.environment()}, air, "-c", ".air.toml")
	if err != nil {
		return nil, err
	}
	l := &airLane{b, p}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := loop.AwaitVersion(ctx, b.address, 0, nil); err != nil {
		return l, fmt.Errorf("start air: %w\n%s", err, p.Text())
	}
	return l, nil
}

func (a *airLane) addr() string { return a.address }

func (a *airLane) edit(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	n, err := a.save()
	if err != nil {
		return 0, err
	}
	served, err := loop.AwaitVersion(ctx, a.address, n, nil)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, a.process.Text())
	}
	return served.Sub(began), nil
}

func (a *airLane) close(ctx context.Context) error {
	a.process.Signal(syscall.SIGINT)
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := a.process.Wait(wait)
	return errors.Join(err, a.checkout.Close(ctx))
}
