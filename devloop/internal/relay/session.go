package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"devloop/internal/dap"
)

// A phase is how far the session has come with the process that serves.
type phase int

const (
	idle        phase = iota // the editor has not asked to attach yet
	away                     // no process, or dlv is just attaching to it
	configuring              // the process stands still until the breakpoints are set
	live                     // the editor and dlv debug
	ended
)

const (
	// unasked is how long an editor may take to begin to send its
	// configuration again, and inBetween from one request to the next; an
	// editor that does not has its last configuration replayed.
	unasked   = 300 * time.Millisecond
	inBetween = time.Second
	// lookAfter is how often the process is looked at: dlv does not notice
	// that one is killed which stands still.
	lookAfter = 250 * time.Millisecond
	// An attach that fails is tried again this often, with this pause.
	attempts    = 3
	betweenThem = 300 * time.Millisecond
)

// A session is one editor's, over one connection, whatever process serves. All
// of it happens on the goroutine that calls run.
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
	held       []dap.Message // what the editor asked for while there was nobody to ask
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
		// First, as whoever has the answer may look there.
		r.Reporter.DebuggerFailed(h.client, err)
		_, _ = client.Send(dap.NewFailure(first, err.Error())) // whoever cannot read it is gone
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
		window: stoppedTimer(), retry: stoppedTimer(),
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

// refuse tells a client why its connection ends.
func refuse(client *dap.Conn, err error) {
	if _, ok := errors.AsType[*dap.FormatError](err); ok {
		_, _ = client.Send(dap.NewOutput("important", "this is no Debug Adapter Protocol: "+err.Error()))
		_, _ = client.Send(dap.NewEvent("terminated", nil))
	}
}

// failed reports an error, unless it is that of a client that just left.
func (r *Relay) failed(client string, err error) {
	if _, ok := errors.AsType[*dap.FormatError](err); ok {
		r.Reporter.DebuggerFailed(client, err)
	}
}

func (s *session) run(requests <-chan dap.Message) {
	look := time.NewTicker(lookAfter)
	defer look.Stop()
	for s.phase != ended {
		changed := s.relay.Server.Changed()
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
			if m.Type == dap.Request { // nothing else was asked for
				s.request(m)
			}
		case m, ok := <-messages:
			if !ok {
				s.lost()
				continue
			}
			s.answer(m)
		case <-changed:
		case <-s.refreshed: // or why it does not, which the terminal has told
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

// stopping is why the session ends, if the editor is not who ends it.
func (s *session) stopping() error {
	if s.ctx.Err() == nil {
		return nil
	}
	return errors.New("the loop is stopping")
}

// close ends the session, however it came to that.
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

// request deals with one request of the editor.
func (s *session) request(m dap.Message) {
	switch m.Command {
	case "initialize":
		s.begin(m)
	case "attach":
		s.wantAttach(m)
	case "launch":
		s.send(dap.NewFailure(m, "the server runs already: use the request \"attach\", with the mode \"remote\""))
	case "disconnect", "terminate":
		s.leave(m)
	case "restart":
		s.restart(m)
	default:
		s.debug(m)
	}
}

// begin answers "initialize" with what dlv can do.
func (s *session) begin(m dap.Message) {
	if s.unanswered != nil || s.initialize.Command != "" {
		s.send(dap.NewFailure(m, "the session has begun already"))
		return
	}
	s.initialize, s.unanswered = m, &m
	b, err := s.start()
	if err != nil {
		s.relay.Reporter.DebuggerFailed(s.holder.client, err)
		s.send(dap.NewFailure(m, err.Error()))
		s.phase = ended
		return
	}
	s.backend = b
	b.pass(m, func(response dap.Message) {
		s.unanswered = nil
		s.send(answerTo(m, withoutTermination(response)))
	})
}

// start runs a dlv that is not attached yet.
func (s *session) start() (*backend, error) {
	d, err := s.relay.Launcher.DAP(s.ctx)
	if err != nil {
		return nil, err
	}
	return newBackend(d), nil
}

// withoutTermination takes away what would end the server: that is not the
// editor's to do.
func withoutTermination(m dap.Message) dap.Message {
	body := make(map[string]any)
	if m.Field("body", &body) != nil {
		return m
	}
	delete(body, "supportTerminateDebuggee")
	delete(body, "supportsTerminateRequest")
	body["supportsRestartRequest"] = true
	return m.With("body", body)
}

// answerTo addresses a response to the editor's request.
func answerTo(request, response dap.Message) dap.Message {
	response.RequestSeq, response.Command = request.Seq, request.Command
	return response
}

// wantAttach notes that the editor wants to debug what serves.
func (s *session) wantAttach(m dap.Message) {
	switch {
	case s.initialize.Command == "":
		s.send(dap.NewFailure(m, "send \"initialize\" first"))
	case s.attach.Command != "":
		s.send(dap.NewFailure(m, "the session is attached already"))
	default:
		s.attach, s.unanswered, s.phase = m, &m, away
		s.refreshed = make(chan error, 1)
		s.tasks.Go(func() { s.refreshed <- s.relay.Refresh(s.ctx) })
		if s.relay.Server.Serving() == 0 {
			s.tell("nothing serves yet: attaching as soon as something does")
		}
	}
}

// debug deals with the requests that are about a process.
func (s *session) debug(m dap.Message) {
	switch {
	case s.phase == idle && s.backend == nil:
		s.send(dap.NewFailure(m, "send \"initialize\" first"))
	case s.phase == idle:
		s.forward(m) // which dlv refuses in its own words
	case s.phase == live && m.Command == "configurationDone":
		s.send(dap.NewResponse(m, nil))
	case s.phase == live:
		s.forward(m)
	case m.Command == "continue":
		s.send(dap.NewResponse(m, map[string]bool{"allThreadsContinued": true}))
	case steps(m):
		s.send(dap.NewFailure(m, "the server has been reloaded: what was stopped has gone"))
	case s.phase == away && looks(m):
		s.send(dap.NewFailure(m, "the server is being reloaded"))
	case s.phase == away, m.Command == "pause":
		s.held = append(s.held, m)
	case m.Command == "configurationDone":
		s.forward(m)
		s.goLive()
	default:
		s.forward(m)
		if configures(m) && s.attached {
			s.window.Reset(cmp.Or(s.relay.inBetween, inBetween))
		}
	}
}

func steps(m dap.Message) bool {
	return slices.Contains([]string{"next", "stepIn", "stepOut", "stepBack", "reverseContinue", "goto"}, m.Command)
}

// looks reports whether a request is about something that was stopped.
func looks(m dap.Message) bool {
	return slices.Contains([]string{
		"stackTrace", "scopes", "variables", "evaluate", "setVariable", "setExpression",
		"exceptionInfo", "source", "disassemble", "readMemory", "writeMemory",
	}, m.Command)
}

// forward passes a request on and brings back the answer.
func (s *session) forward(m dap.Message) {
	if configures(m) {
		s.config.record(m)
	}
	b := s.backend
	resumes, stood := m.Command == "continue" || steps(m), !b.runs
	if resumes {
		b.runs, b.stepping = true, b.stepping || steps(m)
	}
	b.pass(m, func(response dap.Message) {
		switch {
		case configures(m):
			response = s.config.answered(m, response, b.numbers)
		case resumes && response.Success:
			s.stopped = 0
		case resumes && stood: // and still does: dlv has refused
			b.runs = false
		}
		s.send(answerTo(m, response))
	})
}

// leave ends the session as the editor wishes; the server serves on.
func (s *session) leave(m dap.Message) {
	s.phase = ended
	if s.backend != nil {
		s.detach(func(said dap.Message) {
			if said.Type == dap.Event && said.Event == "output" {
				s.send(said)
			}
		})
	}
	s.relay.giveUp(s.holder) // before the editor knows, which may come again
	s.send(dap.NewResponse(m, nil))
	s.send(dap.NewEvent("terminated", nil))
}

// restart builds and runs the server again, as an edit would.
func (s *session) restart(m dap.Message) {
	s.tasks.Go(func() {
		err := s.relay.Restart(s.ctx)
		select {
		case s.restarts <- restarted{m, err}:
		case <-s.ctx.Done():
		}
	})
}

func (s *session) restarted(r restarted) {
	if r.err != nil {
		s.send(dap.NewFailure(r.request, r.err.Error()))
		return
	}
	s.send(dap.NewResponse(r.request, nil))
}
