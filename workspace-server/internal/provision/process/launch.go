package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/provision"
)

// The descriptors that a keeper inherits, besides the standard ones.
const (
	fdLock   = 3 + iota // of the workspace's directory
	fdAlive             // of the file that tells that it runs
	fdSocket            // of the agent's listener
)

// done is what a keeper answers when the agent runs; all else is an error.
const done = "done\n"

// plan is what a keeper is to do.
type plan struct {
	Dir    string   `json:"dir"`  // of the generation
	Home   string   `json:"home"` // of the agent
	Env    []string `json:"env"`  // of the agent
	Record record   `json:"record"`
}

// launch starts a keeper with an agent. It returns when the keeper has written
// down that the agent runs, or when ctx is done; then the keeper may still do so.
func (d *Driver) launch(ctx context.Context, lock *os.File, place string, spec provision.Spec) (err error) {
	p := plan{
		Dir:    filepath.Join(place, strconv.FormatInt(spec.Generation, 10)),
		Home:   filepath.Join(place, homeDir),
		Record: record{Generation: spec.Generation, Started: time.Now()},
	}
	if p.Env, err = prepare(p, spec); err != nil {
		return err
	}
	alive, err := os.OpenFile(filepath.Join(p.Dir, aliveFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer alive.Close()
	if ok, err := tryLock(alive, true); !ok || err != nil {
		return errors.Join(err, fmt.Errorf("lock %s", alive.Name()))
	}
	log, err := os.OpenFile(filepath.Join(p.Dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// The socket is there before the agent is: its address is known, and whoever
	// calls too early waits.
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	p.Record.Address = ln.Addr().String()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer socket.Close()
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	answer, answerTo, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answer.Close()

	cmd, err := self("keep")
	if err != nil {
		return errors.Join(err, answerTo.Close())
	}
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, d.env...)
	cmd.Stdin = strings.NewReader(string(text)) // it has secrets, and so is no argument and no file
	cmd.Stdout, cmd.Stderr = answerTo, log
	cmd.ExtraFiles = []*os.File{lock, alive, socket}
	cmd.SysProcAttr = detached()
	err = cmd.Start()
	if err = errors.Join(err, answerTo.Close()); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = answer.SetReadDeadline(time.Unix(1, 0)) })
	got, err := io.ReadAll(answer)
	stop()
	// What was started has started the keeper, and has nothing else to do.
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	switch {
	case ctx.Err() != nil && string(got) != done:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("hear from the keeper: %w", err)
	case string(got) != done:
		return fmt.Errorf("the agent does not run: %s", keeperError(string(got), log.Name()))
	}
	return nil
}

func keeperError(answer, log string) string {
	if answer != "" {
		return answer
	}
	if text, err := os.ReadFile(log); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text[:min(len(text), 1000)]))
	}
	return "the keeper ended without a word"
}

// prepare makes a generation's directory anew, and returns the agent's
// environment: nothing of the server's but PATH.
func prepare(p plan, spec provision.Spec) ([]string, error) {
	plugins := filepath.Join(p.Dir, pluginsDir)
	if err := errors.Join(os.RemoveAll(p.Dir), os.MkdirAll(plugins, 0o700), os.MkdirAll(p.Home, 0o700)); err != nil {
		return nil, err
	}
	for name, dir := range spec.Plugins {
		if !plain(name) {
			return nil, fmt.Errorf("%q cannot be a plugin's name", name)
		}
		target, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if err := os.Symlink(target, filepath.Join(plugins, name)); err != nil {
			return nil, err
		}
	}
	configs, err := filepath.Abs(spec.Configs)
	if err != nil {
		return nil, err
	}
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": p.Home}
	maps.Copy(env, spec.Env)
	maps.Copy(env, map[string]string{provision.EnvConfigs: configs, provision.EnvPlugins: plugins, "LISTEN_FDS": "1"})
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.Contains(name, "=") {
			return nil, fmt.Errorf("%q cannot be a variable's name", name)
		}
		pairs = append(pairs, name+"="+env[name])
	}
	return pairs, nil
}

// self returns a command that runs this program, the one that runs now: the
// file at its path may be a newer build, or not there for a moment. Linux has a
// way to it.
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
