package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"devloop/internal/dap"
	"devloop/internal/filenames"
)

// A phase is how far the session has come with the process that serves.
type phase int

const (
	idle        phase = iota // the editor has not asked to attach yet
	away                     // no process, or dlv is just attaching to it
	configuring              // the process is paused until the breakpoints are set
	live                     // the editor and dlv debug
	ended
)

const (
	// unasked is how long an editor may take to begin to send its
	// configuration again, and inBetween from one request to the next; an
	// editor that does not has its last configuration replayed.
	unasked   = 300 * time.Millisecond
	inBetween = time.Second
	// lookAfter is how often the session looks at the process: dlv does not
	// notice the end of a paused one.
	lookAfter = 250 * time.Millisecond
	// An attach that fails is tried again this often, with this pause.
	attempts    = 3
	betweenThem = 300 * time.Millisecond
)

// A session serves one editor, over one connection, across all processes that
// serve meanwhile. All of it happens on the goroutine that calls run.
type session struct {
	relay  *Relay
	holder *holder
	client *dap.Conn
	ctx    context.Context // ends with the session

	phase      phase
	initialize dap.Message  // the editor's, used again for each process
	attach     dap.Message  // likewise
	unanswered *dap.Message // "initialize" or "attach", while the editor waits for the answer
	config     configuration
	names      filenames.Names
	versions   versions      // of the files with breakpoints, by their paths here
	held       []dap.Message // requests that no process could take yet
	backend    *backend      // nil while there is no dlv
	attached   bool          // to some process, once at least
	stopped    int           // thread that the editor was told has stopped, or 0
	failures   int           // attempts to reach a process in a row
	window     *time.Timer   // for the editor to send its configuration
	retry      *time.Timer   // wakes the session when it may try again
	notBefore  time.Time     // when that is
	restarts   chan restarted
	refreshed  chan error // while the latest build is made to serve, after "attach"
	tasks      sync.WaitGroup
	fault      error // what ended the session, if that was not the editor
}

// restarted is what came of a "restart" request.
type restarted struct {
	request dap.Message
	err     error
}

// serveDAP serves one editor.
func (r *Relay) serveDAP(ctx context.Context, client *dap.Conn) {
	stop := context.AfterFunc(ctx, func() { client.Close() })
	first, err := client.Receive()
	if !stop() {
		return
	}
	if err != nil {
		r.failed(client.RemoteAddr().String(), err)
		refuse(client, err)
		return
	}
	h := &holder{client: clientName(first, client)}
	if err := r.claim(ctx, h); err != nil {
		// First: a client that has the answer may look there.
		r.Reporter.DebuggerFailed(h.client, err)
		_, _ = client.Send(dap.NewFailure(first, err.Error())) // a client that cannot read it is gone
		return
	}
	defer r.giveUp(h)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan dap.Message)
	broken := make(chan error, 1)
	go func() {
		defer close(requests)
		for m := first; ; {
			select {
			case requests <- m:
			case <-ctx.Done():
				return
			}
			var err error
			if m, err = client.Receive(); err != nil {
				broken <- err
				return
			}
		}
	}()
	s := &session{
		relay: r, holder: h, client: client, ctx: ctx, restarts: make(chan restarted),
		window: stoppedTimer(), retry: stoppedTimer(), versions: versions{},
	}
	s.run(requests)
	s.close(broken)
	cancel()
	s.tasks.Wait()
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// clientName names an editor for people.
func clientName(first dap.Message, client *dap.Conn) string {
	var arguments struct {
		ClientName string `json:"clientName"`
		ClientID   string `json:"clientID"`
	}
	_ = first.Field("arguments", &arguments) // it goes without a name
	name := arguments.ClientName
	if name == "" {
		name = arguments.ClientID
	}
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // it is shown in a terminal
			return -1
		}
		return r
	}, name)
	if name == "" {
		return client.RemoteAddr().String()
	}
	return fmt.Sprintf("%.40s (%s)", name, client.RemoteAddr())
}

// refuse tells a client that does not speak the protocol why its connection ends.
func refuse(client *dap.Conn, err error) {
	if _, ok := errors.AsType[*dap.FormatError](err); ok {
		_, _ = client.Send(dap.NewOutput("important", "this is not the Debug Adapter Protocol: "+err.Error()))
		_, _ = client.Send(dap.NewEvent("terminated", nil))
	}
}

// failed reports an error, unless the client just left.
func (r *Relay) failed(client string, err error) {
	if _, ok := errors.AsType[*dap.FormatError](err); ok {
		r.Reporter.DebuggerFailed(client, err)
	}
}

func (s *session) run(requests <-chan dap.Message) {
	look := time.NewTicker(lookAfter)
	defer look.Stop()
	for s.phase != ended {
		changed, released := s.relay.Server.Changed(), s.relay.changes()
		if s.follow(); s.phase == ended {
			return
		}
		var messages <-chan dap.Message
		if s.backend != nil {
			messages = s.backend.messages
		}
		select {
		case m, ok := <-requests:
			if !ok {
				s.fault = s.stopping()
				return
			}
			if m.Type == dap.Request { // nothing else is asked for
				s.request(m)
			}
		case m, ok := <-messages:
			if !ok {
				s.lost()
				continue
			}
			s.answer(s.toEditor(m))
		case <-changed:
		case <-released:
		case <-s.refreshed: // the terminal shows why, if it failed
			s.refreshed = nil
		case <-s.window.C:
			s.replay()
		case <-s.retry.C:
		case <-look.C:
			s.look()
		case r := <-s.restarts:
			s.restarted(r)
		case <-s.ctx.Done():
			s.fault = s.stopping()
			return
		}
	}
}

// stopping returns why the session ends, or nil if the editor ends it.
func (s *session) stopping() error {
	if s.ctx.Err() == nil {
		return nil
	}
	return errors.New("the loop is stopping")
}

// close ends the session, for whatever reason.
func (s *session) close(broken <-chan error) {
	select {
	case err := <-broken:
		refuse(s.client, err)
		if err != io.EOF {
			s.relay.failed(s.holder.client, err)
		}
	default:
	}
	if s.fault != nil {
		s.tell("debugging ends: " + s.fault.Error())
	}
	if s.backend != nil {
		s.detach(func(dap.Message) {})
	}
	if s.fault != nil {
		s.send(dap.NewEvent("terminated", nil))
	}
	if s.attached {
		s.relay.Reporter.DebuggerDetached(s.holder.client)
	}
}

// send writes to the editor. One that cannot be written to has gone, which the
// reader notices too.
func (s *session) send(m dap.Message) {
	if _, err := s.client.Send(m); err != nil {
		s.client.Close()
	}
}

// tell prints a line in the editor's debug console.
func (s *session) tell(line string) { s.send(dap.NewOutput("console", line)) }
