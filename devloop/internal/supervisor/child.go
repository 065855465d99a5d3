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
	"devloop/internal/forward"
	"devloop/internal/launch"
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

	addresses []string           // that are its own, where it may listen
	backends  []*forward.Backend // where it is reached, unless it accepts itself
	seen      steady             // what looks at its start found
	asked     time.Time          // when the path that tells readiness was asked for
	unready   string             // what that said
}

func (p *child) pid() int {
	if p == nil {
		return 0
	}
	return p.PID()
}

// spawn starts a process of the server; its output is held back until pass.
func (s *Supervisor) spawn(b build) (*child, error) {
	s.spawned++
	addresses, err := ownAddresses(len(s.Listeners))
	if err != nil {
		return nil, err
	}
	socket, err := notify.Listen(filepath.Join(s.RunDir, fmt.Sprintf("notify-%d", s.spawned)))
	if err != nil {
		return nil, err
	}
	p := &child{
		command: b.command, binary: b.binary, sum: b.sum,
		notify: socket, output: newOutput(s.Output), addresses: addresses,
	}
	own := placeholders(addresses)
	cmd := exec.Command(b.binary, filledIn(b.command.Args, own)...)
	cmd.Args[0] = b.command.Path
	cmd.Dir = b.command.Dir
	cmd.Env = withoutLoops(b.command.Env)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	s.way.equip(p, cmd)
	cmd.Env = append(cmd.Env, filledIn(s.Setenv, own)...)
	if err := s.start(p, cmd); err != nil {
		socket.Close()
		return nil, err
	}
	return p, nil
}

// start starts the command. If it inherits sockets, it finds its process id too.
func (s *Supervisor) start(p *child, cmd *exec.Cmd) (err error) {
	if len(cmd.ExtraFiles) == 0 {
		p.Process, err = s.Starter.Start(cmd, syscall.SIGTERM)
		return err
	}
	l, err := launch.Wrap(cmd)
	if err != nil {
		return err
	}
	if p.Process, err = s.Starter.Start(cmd, syscall.SIGTERM); err != nil {
		l.Close()
		return err
	}
	if err := l.Wait(); err != nil {
		p.Kill()
		return err
	}
	return nil
}

// withoutLoops returns the environment without what the loop itself may have got
// from a service manager.
func withoutLoops(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == notify.Variable || strings.HasPrefix(name, "LISTEN_") && slices.Contains([]string{"PID", "PIDFDID", "FDS", "FDNAMES"}, name[len("LISTEN_"):])
	})
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
