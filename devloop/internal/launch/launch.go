// Package launch starts a program that finds its own process id in LISTEN_PID,
// as sd_listen_fds(3) wants it. The id is known only once the process exists: it
// first runs this very program, which adds the variable and becomes the other.
//
// A shell would do that too (sh -c 'LISTEN_PID=$$ exec "$@"'), and start twice
// as fast. But dash drops variables whose names hold a dot or a dash, sets PWD,
// and cannot pass on the program's own name for itself.
package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// marker is the name under which this program knows that it must become another.
const marker = "devloop: launch"

// init comes before main, in whichever program links this package, tests too:
// what follows belongs to the other program.
func init() {
	if os.Args[0] == marker {
		become(os.Args[1:])
	}
}

// become replaces this process. Its arguments are the descriptor that takes an
// error, the program's file, and the program's arguments, its name first.
func become(args []string) {
	fd, err := strconv.Atoi(args[0])
	if err != nil {
		os.Exit(126)
	}
	syscall.CloseOnExec(fd)
	allowTracer()
	env := append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	err = syscall.Exec(args[1], args[2:], env)
	_, _ = io.WriteString(os.NewFile(uintptr(fd), "errors"), err.Error())
	os.Exit(126)
}

// A Launch is a command that was changed to start in two steps.
type Launch struct {
	name    string
	in, out *os.File
}

// Wrap changes a command that has not been started so that its program finds
// LISTEN_PID. Call Wait once it was started, or Close if that failed.
func Wrap(cmd *exec.Cmd) (*Launch, error) {
	self := "/proc/self/exe" // even if the file was replaced
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program's file: %w", err)
		}
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	const first = 3 // the descriptor of the first of ExtraFiles
	cmd.ExtraFiles = append(cmd.ExtraFiles[:len(cmd.ExtraFiles):len(cmd.ExtraFiles)], out)
	fd := strconv.Itoa(first + len(cmd.ExtraFiles) - 1)
	l := &Launch{cmd.Path, in, out}
	cmd.Args = append([]string{marker, fd, cmd.Path}, cmd.Args...)
	cmd.Path = self
	return l, nil
}

// Wait returns once the process runs the program itself, or why it does not.
func (l *Launch) Wait() error {
	l.out.Close()
	text, err := io.ReadAll(l.in)
	l.in.Close()
	if len(text) > 0 {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", l.name, err)
	}
	return nil
}

// Close gives up on a command that could not be started.
func (l *Launch) Close() {
	l.in.Close()
	l.out.Close()
}
