// Package janitor removes what a program made even when the program is killed:
// a second process reads a list from a pipe, and acts when the pipe breaks.
package janitor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	"e2e/harness/command"
	"e2e/harness/engine"
)

// role is set in the environment of the second process.
const role = "E2E_JANITOR"

// A Thing is something to remove.
type Thing struct{ kind, name string }

// Processes are those of a run, see package command.
func Processes(run string) Thing { return Thing{"processes", run} }

// Project is all that a compose project has.
func Project(name string) Thing { return Thing{"project", name} }

// Installation is all that a platform made for its workspaces.
func Installation(id string) Thing { return Thing{"installation", id} }

// Container is one container, with its anonymous volumes.
func Container(name string) Thing { return Thing{"container", name} }

// Image is one tag.
func Image(tag string) Thing { return Thing{"image", tag} }

// Directory is a directory with all that is in it.
func Directory(path string) Thing { return Thing{"directory", path} }

func (t Thing) remove(ctx context.Context) error {
	switch t.kind {
	case "processes":
		command.Kill(t.name)
		return nil
	case "project":
		return engine.Remove(ctx, t.name)
	case "installation":
		return engine.RemoveInstallation(ctx, t.name)
	case "container":
		_, err := engine.Docker(ctx, "rm", "-fv", t.name)
		return err
	case "image":
		_, err := engine.Docker(ctx, "rmi", "-f", t.name)
		return err
	case "directory":
		return os.RemoveAll(t.name)
	default:
		return fmt.Errorf("a %q cannot be removed", t.kind)
	}
}

// A Janitor holds the list.
type Janitor struct {
	mu     sync.Mutex
	pipe   io.WriteCloser
	things []Thing
}

// Main makes this process the second one if it was started as such; it must be
// called before anything else. Otherwise it starts the second process.
func Main() (*Janitor, error) {
	if os.Getenv(role) != "" {
		clean(os.Stdin)
		os.Exit(0)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the janitor: %w", err)
	}
	return &Janitor{pipe: pipe}, nil
}

// clean reads the list and removes, last first, what is on it in the end.
func clean(in io.Reader) {
	var things []Thing
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), " ", 3)
		t := Thing{f[1], f[2]}
		if things = slices.DeleteFunc(things, func(o Thing) bool { return o == t }); f[0] == "+" {
			things = append(things, t)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(os.Stderr, "read the list of what to remove: %v\n", err)
	}
	for _, t := range slices.Backward(things) {
		if err := t.remove(context.Background()); err != nil {
			fmt.Fprintf(os.Stderr, "left behind: %s %s: %v\n", t.kind, t.name, err)
		}
	}
}

// Add puts a thing on the list, best before it is made.
func (j *Janitor) Add(t Thing) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.things = append(j.things, t)
	_, err := fmt.Fprintf(j.pipe, "+ %s %s\n", t.kind, t.name)
	return err
}

// Remove removes a thing and takes it off the list.
func (j *Janitor) Remove(ctx context.Context, t Thing) error {
	if err := t.remove(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.things = slices.DeleteFunc(j.things, func(o Thing) bool { return o == t })
	_, err := fmt.Fprintf(j.pipe, "- %s %s\n", t.kind, t.name)
	return err
}

// Close removes what is on the list, last first.
func (j *Janitor) Close() error {
	j.mu.Lock()
	things := slices.Clone(j.things)
	j.mu.Unlock()
	var errs []error
	for _, t := range slices.Backward(things) {
		errs = append(errs, j.Remove(context.Background(), t))
	}
	errs = append(errs, j.pipe.Close())
	return errors.Join(errs...)
}
