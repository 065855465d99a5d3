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
)

// The arguments of a keeper: the program's verb, and what is added for the keeper
// itself, which no process waits for.
const (
	keeperVerb = "keeper"
	apart      = "apart"
)

// The descriptors that a keeper inherits, besides the standard ones.
const (
	fdLock   = 3 + iota // of the workspace's directory
	fdAlive             // of the file that is locked as long as the keeper runs
	fdSocket            // of the agent's listener
)

// done is a keeper's answer once the agent runs; any other is an error.
const done = "done\n"

// drainTime is how long a keeper reads what processes that the agent started
// still write once the agent has ended.
const drainTime = time.Second

// RunKeeper is the verb "keeper", with its arguments. Only a driver starts it: it
// fails if the descriptors that a driver passes are missing.
func RunKeeper(args []string) error {
	lock, alive, socket := os.NewFile(fdLock, "lock"), os.NewFile(fdAlive, "alive"), os.NewFile(fdSocket, "socket")
	if info, err := lock.Stat(); err != nil || !info.IsDir() {
		return errors.New("only the server runs this verb: start a workspace, and it starts the keeper")
	}
	if len(args) == 1 && args[0] == apart {
		return watch(lock, alive, socket)
	}
	// The keeper must be no one's child, so that no one needs to wait for it: this
	// process starts it, and ends.
	cmd, err := self(keeperVerb, apart)
	if err != nil {
		return err
	}
	cmd.Env = os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{lock, alive, socket}
	cmd.SysProcAttr = detached()
	return cmd.Start()
}

// watch starts an agent and stays until its end.
func watch(lock, alive, socket *os.File) error {
	for _, fd := range []int{fdLock, fdAlive, fdSocket} {
		closeOnExec(fd)
	}
	// The program ends at a second SIGINT or SIGTERM, so both are reset. Signals
	// that go to a channel no one reads do nothing to the keeper, and the agent
	// does not inherit them as ignored. SIGPIPE comes when the server has stopped
	// listening.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
	stop, kill := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stop, signalStop)
	signal.Notify(kill, signalKill)
	// An agent ends with the thread that started it.
	runtime.LockOSThread()

	k, err := startAgent(socket)
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
		return err
	}
	// The start is over. Closing the lock lets the next call begin.
	if err := errors.Join(lock.Close(), socket.Close()); err != nil {
		return errors.Join(err, k.abort())
	}
	_, _ = io.WriteString(os.Stdout, done) // the server may have gone
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

// keeper is what this process knows of the agent that it watches.
type keeper struct {
	dir    string // of the generation
	agent  *os.Process
	output *os.File
	copied chan struct{} // closed when all output is in the log
}

// startAgent reads the plan from the standard input, starts the agent, and
// records that it runs.
func startAgent(socket *os.File) (*keeper, error) {
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
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
	k := &keeper{dir: p.Dir, agent: cmd.Process, output: r, copied: make(chan struct{})}
	go func() {
		defer close(k.copied)
		_, _ = io.Copy(log, r)
		_ = log.Close()
	}()
	p.Record.Keeper = os.Getpid()
	if err := writeJSON(filepath.Join(p.Dir, startFile), p.Record); err != nil {
		return nil, errors.Join(err, k.abort())
	}
	return k, nil
}

// abort ends an agent that no server will know of.
func (k *keeper) abort() error {
	killGroup(k.agent.Pid)
	_, err := k.agent.Wait()
	return err
}

// finish waits for the agent's end, and records it.
func (k *keeper) finish() error {
	state, err := k.agent.Wait()
	killGroup(k.agent.Pid) // processes that the agent started and left behind
	select {
	case <-k.copied:
	case <-time.After(drainTime):
		_ = k.output.Close()
		<-k.copied
	}
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(k.dir, exitFile), exitOf(state))
}
