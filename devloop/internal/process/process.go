// Package process starts child processes that leave nothing behind: each leads
// its own process group, is reaped, and ends with the program that started it.
package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// pipeGrace is how long output pipes stay open after the process has exited,
// since a grandchild may hold them open for ever. What has not been read by
// then is lost, even if only the processor was busy.
const pipeGrace = time.Second

// A Starter starts processes. Linux sends the parent-death signal when the
// thread that started a child ends, not the process (prctl(2),
// PR_SET_PDEATHSIG), so all starts happen on one thread kept for them.
type Starter struct {
	requests chan func()
}

// NewStarter returns a Starter; Close it when every process it started is done.
func NewStarter() *Starter {
	s := &Starter{requests: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for start := range s.requests {
			start()
		}
	}()
	return s
}

// Close ends the starter's thread.
func (s *Starter) Close() { close(s.requests) }

// Start starts cmd as the leader of its own process group. Where the
// system can, it receives onOrphaned when this program dies without stopping it.
// It waits for the output as long as cmd.WaitDelay says, or for a second.
func (s *Starter) Start(cmd *exec.Cmd, onOrphaned syscall.Signal) (*Process, error) {
	cmd.SysProcAttr = attributes(onOrphaned)
	cmd.WaitDelay = cmp.Or(cmd.WaitDelay, pipeGrace)
	errc := make(chan error)
	s.requests <- func() { errc <- cmd.Start() }
	if err := <-errc; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.reap()
	}()
	return p, nil
}

// A Process is a started child.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// wait reaps the process and waits for its output.
func (p *Process) wait() {
	// The error repeats what ProcessState says, or says that output could not
	// be copied, which is not the process's failure.
	_ = p.cmd.Wait()
}

// PID returns the process id, which is its group's id too.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has exited and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited reports whether the process is gone.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// State returns how the process ended; call it only once Done is closed.
func (p *Process) State() *os.ProcessState { return p.cmd.ProcessState }

// Terminate sends SIGTERM to the process alone, which stops what it started.
func (p *Process) Terminate() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill sends SIGKILL to the process, whose end is that of its group, and waits
// until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop sends SIGTERM, waits for at most grace, then kills. It reports whether
// the process ended in time.
func (p *Process) Stop(grace time.Duration) bool {
	_ = p.Terminate()
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	select {
	case <-p.done:
		return true
	case <-deadline.C:
		p.Kill()
		return false
	}
}

// killGroup also reaches members that outlived their leader.
func (p *Process) killGroup() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) }
