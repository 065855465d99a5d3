package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

func (d *Driver) start(ctx context.Context, spec provision.Spec) (none provision.Instance, err error) {
	place, err := d.place(spec.Workspace)
	if err != nil {
		return none, err
	}
	if spec.Generation < 0 {
		return none, errors.New("generations are not negative")
	}
	plan, err := makePlan(place, spec, time.Now())
	if err != nil {
		return none, err
	}
	lock, err := lockDirectory(ctx, place, true)
	if err != nil {
		return none, err
	}
	defer lock.Close()
	current, err := newest(place)
	switch {
	case provision.IsAbsent(err):
	case err != nil:
		return none, err
	case current.Generation == spec.Generation:
		return current.instance(), nil
	case current.Generation > spec.Generation:
		return none, workspace.Errorf(workspace.Conflict, "The workspace was started again in the meantime.")
	default:
		if err := current.end(ctx, d.grace); err != nil {
			return none, fmt.Errorf("end generation %d: %w", current.Generation, err)
		}
	}
	if err := d.launch(ctx, lock, plan); err != nil {
		return none, err
	}
	made, err := newest(place)
	if err != nil {
		return none, err
	}
	return made.instance(), forget(place, spec.Generation)
}

// launch starts a keeper with its agent. It returns once the keeper has recorded
// that the agent runs, or when ctx is done; then the keeper may still do so.
func (d *Driver) launch(ctx context.Context, lock *os.File, p plan) error {
	in, err := prepare(ctx, p)
	if err != nil {
		return err
	}
	defer in.close()
	p.Record.Address = in.address
	keeper, err := d.startKeeper(p, lock, in)
	if err != nil {
		return err
	}
	return keeper.await(ctx)
}

// inheritance is what a keeper inherits, besides the lock on the workspace's directory.
type inheritance struct {
	alive   *os.File // locked as long as the keeper runs
	log     *os.File // takes what the keeper writes to its standard error
	socket  *os.File // of the agent's listener
	address string   // where the socket listens
}

// close closes this process's files. The keeper has its own.
func (in inheritance) close() {
	for _, f := range []*os.File{in.alive, in.log, in.socket} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// prepare makes a generation's directory anew, and opens what its keeper inherits.
func prepare(ctx context.Context, p plan) (in inheritance, err error) {
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	plugins := filepath.Join(p.Dir, pluginsDir)
	if err := errors.Join(os.RemoveAll(p.Dir), os.MkdirAll(plugins, 0o700), os.MkdirAll(p.Home, 0o700)); err != nil {
		return in, err
	}
	for link, target := range p.links {
		if err := os.Symlink(target, link); err != nil {
			return in, err
		}
	}
	in.alive, err = os.OpenFile(filepath.Join(p.Dir, aliveFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return in, err
	}
	if ok, err := tryLock(in.alive, true); !ok || err != nil {
		return in, errors.Join(err, fmt.Errorf("lock %s", in.alive.Name()))
	}
	in.log, err = os.OpenFile(filepath.Join(p.Dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return in, err
	}
	// The socket listens before the agent runs. So the address is known, and a
	// caller who is early waits.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return in, err
	}
	in.address = listener.Addr().String()
	in.socket, err = listener.(*net.TCPListener).File()
	return in, errors.Join(err, listener.Close()) // the socket stays open
}

// startedKeeper is a keeper that has not answered yet.
type startedKeeper struct {
	cmd    *exec.Cmd
	answer *os.File // where the keeper says that the agent runs, or why it does not
	log    string   // the path of the file with the keeper's standard error
}

// startKeeper starts a keeper and sends it the plan.
func (d *Driver) startKeeper(p plan, lock *os.File, in inheritance) (*startedKeeper, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cmd, err := self(keeperVerb)
	if err != nil {
		return nil, err
	}
	answer, answerTo, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, d.env...)
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stdout, cmd.Stderr = answerTo, in.log
	cmd.ExtraFiles = []*os.File{lock, in.alive, in.socket} // from fdLock on
	cmd.SysProcAttr = detached()
	err = cmd.Start()
	if err = errors.Join(err, answerTo.Close()); err != nil {
		return nil, errors.Join(err, answer.Close())
	}
	return &startedKeeper{cmd: cmd, answer: answer, log: in.log.Name()}, nil
}

// await waits for the keeper's answer, or until ctx is done.
func (k *startedKeeper) await(ctx context.Context) error {
	defer k.answer.Close()
	stop := context.AfterFunc(ctx, func() { _ = k.answer.SetReadDeadline(time.Unix(1, 0)) })
	text, err := io.ReadAll(k.answer)
	stop()
	// The process that was started has by now started the keeper, which is apart
	// from it. It has nothing else to do.
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait()
	answer := string(text)
	switch {
	case answer == done:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("read the keeper's answer: %w", err)
	case answer != "":
		return fmt.Errorf("the agent does not run: %s", answer)
	}
	return fmt.Errorf("the agent does not run: %s", k.lastWords())
}

// lastWords returns why a keeper has ended that did not answer.
func (k *startedKeeper) lastWords() string {
	if text, err := os.ReadFile(k.log); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text[:min(len(text), 1000)]))
	}
	return "the keeper ended without a word"
}

// self returns a command that runs the program of this process. The file at its
// path may be a newer build, or missing for a moment; Linux has a link to the
// program itself.
func self(args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	if runtime.GOOS == "linux" {
		cmd.Path = "/proc/self/exe"
	}
	return cmd, nil
}
