package supervisor

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"devloop/internal/fingerprint"
	"devloop/internal/notify"
	"devloop/internal/process"
)

// A Command is how the server is run.
type Command struct {
	Path string   // absolute path of the binary
	Args []string // arguments after the program's name
	Dir  string   // working directory
	Env  []string // environment, as of os.Environ
}

func (c Command) equal(d Command) bool {
	return c.Path == d.Path && c.Dir == d.Dir && slices.Equal(c.Args, d.Args) && slices.Equal(c.Env, d.Env)
}

// A child is one process of the server.
type child struct {
	*process.Process
	command Command
	binary  string // its own link to the binary, which a later build cannot replace
	sum     fingerprint.Sum
	notify  *notify.Socket
	output  *output
	readyAt time.Time
}

func (p *child) pid() int {
	if p == nil {
		return 0
	}
	return p.PID()
}

// spawn starts a process of the server on the listeners; its output is held
// back until release.
func (s *Supervisor) spawn(c Command, binary string, sum fingerprint.Sum) (*child, error) {
	s.spawned++
	socket, err := notify.Listen(filepath.Join(s.RunDir, fmt.Sprintf("notify-%d", s.spawned)))
	if err != nil {
		return nil, err
	}
	p := &child{command: c, binary: binary, sum: sum, notify: socket, output: newOutput(s.Output)}
	cmd := exec.Command(binary, c.Args...)
	cmd.Args[0] = c.Path
	cmd.Dir = c.Dir
	cmd.Env = environment(c.Env, socket.Path(), len(s.Listeners))
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.ExtraFiles = s.Listeners
	p.Process, err = s.Starter.Start(cmd, syscall.SIGTERM)
	if err != nil {
		socket.Close()
		return nil, err
	}
	return p, nil
}

// environment adds systemd's variables to env. LISTEN_PID is left out: it
// would name a process that does not exist yet.
func environment(env []string, notifySocket string, listeners int) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "LISTEN_PID" || name == "LISTEN_FDS" || name == "LISTEN_FDNAMES" || name == notify.Variable
	})
	return append(out, fmt.Sprintf("LISTEN_FDS=%d", listeners), notify.Variable+"="+notifySocket)
}

// output holds back what a process prints until pass is called, and remembers
// the last of it.
type output struct {
	mu   sync.Mutex
	to   io.Writer
	open bool
	held []byte // what was not passed on yet, at most maxHeld
	tail []byte // the last bytes printed, at most maxTail
}

const (
	maxHeld = 256 << 10
	maxTail = 16 << 10
)

func newOutput(to io.Writer) *output { return &output{to: to} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = keepLast(append(o.tail, p...), maxTail)
	if o.open {
		_, _ = o.to.Write(p) // a closed terminal must not stop the server
		return len(p), nil
	}
	o.held = keepLast(append(o.held, p...), maxHeld)
	return len(p), nil
}

// pass prints what was held back and everything from now on.
func (o *output) pass() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open {
		return
	}
	o.open = true
	_, _ = o.to.Write(o.held)
	o.held = nil
}

// lastLines returns the end of the output, at most n lines.
func (o *output) lastLines(n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := strings.TrimRight(string(o.tail), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}

func keepLast(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	return append(b[:0], b[len(b)-n:]...)
}
