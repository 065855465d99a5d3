package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"workspace-server/internal/private"
)

// apart is the argument of a keeper that nobody waits for.
const apart = "apart"

// drainTime is how long a keeper reads what an agent's own children write when
// the agent has ended.
const drainTime = time.Second

// Keep is the verb "keep", with its arguments. A driver starts it; it is of no
// use to people.
func Keep(args []string) error {
	lock, alive, socket := os.NewFile(fdLock, "lock"), os.NewFile(fdAlive, "alive"), os.NewFile(fdSocket, "socket")
	if info, err := lock.Stat(); err != nil || !info.IsDir() {
		return errors.New("keep is started by the server, not by people")
	}
	if len(args) == 1 && args[0] == apart {
		return keep(lock, alive, socket)
	}
	// The keeper is to be nobody's child, so that nobody has to wait for it.
	cmd, err := self("keep", apart)
	if err != nil {
		return err
	}
	cmd.Env = os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{lock, alive, socket}
	cmd.SysProcAttr = detached()
	return cmd.Start()
}

// keep runs an agent to its end.
func keep(lock, alive, socket *os.File) error {
	for _, fd := range []int{fdLock, fdAlive, fdSocket} {
		closeOnExec(fd)
	}
	// The program would end at the second of these. Those that nobody looks at
	// do nothing, and still are not ignored by the agent: SIGPIPE comes when the
	// server does not listen any more.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
	stop, kill := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stop, signalStop)
	signal.Notify(kill, signalKill)
	// An agent ends with the thread that started it.
	runtime.LockOSThread()

	k, err := begin(socket)
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
		return err
	}
	// The start is over, and who waits for that may go on.
	if err := errors.Join(lock.Close(), socket.Close()); err != nil {
		return errors.Join(err, k.abort())
	}
	_, _ = io.WriteString(os.Stdout, done) // nobody may be there to hear it
	_ = os.Stdout.Close()
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				_ = k.agent.Signal(syscall.SIGTERM)
			case <-kill:
				killGroup(k.agent.Pid)
			case <-ended:
				return
			}
		}
	}()
	err = k.finish()
	close(ended)
	return errors.Join(err, alive.Close())
}

// keeping is an agent that runs.
type keeping struct {
	dir    string
	agent  *os.Process
	output *os.File
	copied chan struct{} // closed when all output is in the log
}

// begin starts the agent and writes it down.
func begin(socket *os.File) (*keeping, error) {
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return nil, fmt.Errorf("read what to keep: %w", err)
	}
	_ = os.Stdin.Close()
	log, err := openLog(p.Dir, maxLog)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	cmd, err := self("agent")
	if err == nil {
		cmd.Dir, cmd.Env = p.Home, p.Env
		cmd.Stdout, cmd.Stderr = w, w
		cmd.ExtraFiles = []*os.File{socket} // descriptor 3
		cmd.SysProcAttr = attached()
		err = cmd.Start()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close(), log.Close())
	}
	k := &keeping{dir: p.Dir, agent: cmd.Process, output: r, copied: make(chan struct{})}
	go func() {
		defer close(k.copied)
		_, _ = io.Copy(log, r)
		_ = log.Close()
	}()
	p.Record.Keeper = os.Getpid()
	text, err := json.Marshal(p.Record)
	if err == nil {
		err = private.Replace(filepath.Join(p.Dir, recordFile), append(text, '\n'))
	}
	if err != nil {
		return nil, errors.Join(err, k.abort())
	}
	return k, nil
}

// abort ends an agent that nobody will know of.
func (k *keeping) abort() error {
	killGroup(k.agent.Pid)
	_, err := k.agent.Wait()
	return err
}

// finish waits for the agent's end and writes it down.
func (k *keeping) finish() error {
	state, err := k.agent.Wait()
	killGroup(k.agent.Pid) // what it has started and left behind
	select {
	case <-k.copied:
	case <-time.After(drainTime):
		_ = k.output.Close()
		<-k.copied
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(exitOf(state))
	if err != nil {
		return err
	}
	return private.Replace(filepath.Join(k.dir, exitFile), append(text, '\n'))
}
