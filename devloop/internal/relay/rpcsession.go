package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"devloop/internal/filenames"
)

// An rpcSession serves one client of Delve's own protocol, across all processes
// that serve meanwhile. A client that waits for the process to stop keeps waiting
// after a reload; one that has stopped it finds the new one stopped. All of it
// happens on the goroutine that calls run.
type rpcSession struct {
	relay  *Relay
	holder *holder
	client *rpcConn
	ctx    context.Context

	backend     *rpcBackend
	held        []rpcMessage // requests that no process could take yet
	running     *rpcMessage  // the client's command that waits for a stop
	runningID   string       // its number at dlv
	listing     string       // the number of the relay's latest request for a list, at dlv
	breakpoints []breakpoint // the client's, as last listed
	names       filenames.Names
	versions    versions        // of the files that they are in
	stale       bool            // ask for the list again once the process is paused
	attached    bool            // to some process, once at least
	restarts    chan rpcMessage // answers to the client's requests to restart
	failures    int
	notBefore   time.Time
	tasks       sync.WaitGroup
	ended       bool
	fault       error
}

func (s *rpcSession) run(requests <-chan rpcMessage) {
	look := time.NewTicker(lookAfter)
	defer look.Stop()
	for !s.ended {
		changed, released := s.relay.Server.Changed(), s.relay.changes()
		if s.follow(); s.ended {
			return
		}
		var messages <-chan rpcMessage
		if s.backend != nil {
			messages = s.backend.messages
		}
		select {
		case m, ok := <-requests:
			if !ok {
				return
			}
			s.request(m)
		case m, ok := <-messages:
			if !ok {
				s.lost()
				continue
			}
			s.answer(m)
		case <-changed:
		case <-released:
		case <-look.C: // which is soon enough for the next attempt, too
			if s.backend != nil && dead(s.backend.pid) {
				s.part(s.backend.debugger.Kill, "the server has died")
			}
		case m := <-s.restarts:
			s.send(m)
		case <-s.ctx.Done():
			s.fault = errors.New("the loop is stopping")
			return
		}
	}
}

// fail ends the session without the client's consent.
func (s *rpcSession) fail(err error) {
	s.fault, s.ended = err, true
	s.relay.Reporter.DebuggerFailed(s.holder.client, err)
}

// close ends the session, for whatever reason.
func (s *rpcSession) close() {
	if s.backend != nil {
		s.letGo()
	}
	waiting, why := s.held, "the session has ended"
	if s.running != nil {
		waiting = append(waiting, *s.running)
	}
	if s.fault != nil {
		why = s.fault.Error()
		if len(waiting) == 0 { // it gets the reason all the same
			waiting = []rpcMessage{{}}
		}
	}
	for _, m := range waiting {
		s.send(rpcFailure(m.ID, why))
	}
	if s.attached {
		s.relay.Reporter.DebuggerDetached(s.holder.client)
	}
}

// send writes to the client. One that cannot be written to has gone, which the
// reader notices too.
func (s *rpcSession) send(m rpcMessage) {
	if s.client.write(m) != nil {
		s.client.Close()
	}
}

// follow attaches dlv to the process that serves, and to no other.
func (s *rpcSession) follow() {
	serving := s.relay.serving()
	if s.backend != nil && s.backend.pid != serving {
		s.letGo()
	}
	if s.backend == nil && serving != 0 && !dead(serving) && !time.Now().Before(s.notBefore) {
		s.reach(serving)
	}
}

// Answers of methods that the relay has a part in.
type (
	detachIn     struct{ Kill bool }
	listIn       struct{ All bool }
	listOut      struct{ Breakpoints []breakpoint }
	breakpointIn struct {
		Breakpoint breakpoint
		LocExpr    string `json:",omitempty"`
		Suspended  bool   // keep it even if it has no place
	}
	clearIn   struct{ Id int }
	commandIn struct {
		Name string `json:"name"`
	}
	commandOut struct {
		State struct {
			Exited bool `json:"exited"`
		}
	}
)

const (
	methodCommand = "RPCServer.Command"
	methodDetach  = "RPCServer.Detach"
	methodList    = "RPCServer.ListBreakpoints"
)

// letGo detaches dlv from a process that ends or has ended.
func (s *rpcSession) letGo() {
	b := s.backend
	ctx, cancel := context.WithTimeoutCause(context.Background(), finishTimeout, errors.New("dlv does not let go of the process"))
	defer cancel()
	// What is waited for goes on in the next process; the rest is answered.
	ignore := func(m rpcMessage) {
		if string(m.ID) != s.runningID {
			s.answer(m)
		}
	}
	if s.running != nil {
		// It fails if the process is dead, and dlv lets go of it all the same.
		_, _ = b.call(ctx, methodCommand, commandIn{"halt"}, ignore)
	}
	if s.stale {
		if result, err := b.call(ctx, methodList, listIn{}, ignore); err == nil {
			s.listed(result)
		}
	}
	// Without it the breakpoints of a step would stay in the process.
	_, _ = b.call(ctx, "RPCServer.CancelNext", struct{}{}, ignore)
	for trapPending(b.pid) && ctx.Err() == nil {
		s.absorb(ctx, ignore)
	}
	_, _ = b.call(ctx, methodDetach, detachIn{false}, ignore)
	s.part(b.debugger.End, "the server has been reloaded")
}

// absorb clears a leftover halt from a paused process, which is paused afterwards
// too.
func (s *rpcSession) absorb(ctx context.Context, ignore func(rpcMessage)) {
	b := s.backend
	if result, err := b.call(ctx, methodList, listIn{}, ignore); err == nil {
		var out listOut
		_ = json.Unmarshal(result, &out) // none
		for _, each := range out.Breakpoints {
			_, _ = b.call(ctx, "RPCServer.ClearBreakpoint", clearIn{each.id()}, ignore)
		}
	}
	params, _ := json.Marshal(commandIn{"continue"})
	b.post(methodCommand, []json.RawMessage{params})
	_, _ = b.call(ctx, methodCommand, commandIn{"halt"}, ignore)
}

// part ends dlv. A command that waits for a stop goes to the next process;
// other unanswered requests fail.
func (s *rpcSession) part(end func(), why string) {
	b := s.backend
	close(b.stop)
	end()
	s.backend, s.listing, s.runningID = nil, "", ""
	s.relay.hold(s.holder, 0)
	for _, m := range b.pending {
		if s.running == nil || string(m.ID) != string(s.running.ID) {
			s.send(rpcFailure(m.ID, why))
		}
	}
}

// reach attaches dlv to a process and brings it to where the client had the
// previous one.
func (s *rpcSession) reach(pid int) {
	began := time.Now()
	s.followLines()
	s.relay.hold(s.holder, pid)
	if err := s.attach(pid); err != nil {
		if s.backend != nil {
			s.part(s.backend.debugger.End, err.Error())
		}
		s.relay.hold(s.holder, 0)
		s.unreachable(pid, err)
		return
	}
	s.failures = 0
	if !s.attached {
		s.attached = true
		s.relay.Reporter.DebuggerAttached(s.holder.client, pid)
	} else {
		s.relay.Reporter.DebuggerMoved(pid, time.Since(began), s.running == nil)
	}
	if s.running != nil {
		// A step ended with its goroutine.
		b, _ := json.Marshal(commandIn{"continue"})
		m := *s.running
		m.Params = []json.RawMessage{b}
		s.command(m)
	}
	held := s.held
	s.held = nil
	for _, m := range held {
		s.request(m)
	}
}

// attach attaches dlv to all threads of a process, and sets the breakpoints.
func (s *rpcSession) attach(pid int) error {
	for tries := 1; ; tries++ {
		err := s.attachOnce(pid)
		if !errors.Is(err, errUntraced) || tries == attempts {
			return err
		}
		s.part(s.backend.debugger.End, err.Error())
		s.relay.hold(s.holder, pid)
	}
}

func (s *rpcSession) attachOnce(pid int) error {
	d, err := s.relay.Launcher.Attach(s.ctx, pid)
	if err != nil {
		return err
	}
	s.backend = newRPCBackend(d, pid)
	type version struct{ APIVersion int }
	if _, err := s.backend.call(s.ctx, "RPCServer.SetApiVersion", version{2}, s.answer); err != nil {
		return err
	}
	if s.relay.missesThread(pid) {
		return errUntraced
	}
	s.names = s.relay.named(pid, s.names)
	for _, b := range s.breakpoints {
		if err := s.set(b); err != nil {
			return err
		}
	}
	return nil
}

// unreachable tries again, or ends the session.
func (s *rpcSession) unreachable(pid int, err error) {
	if s.ctx.Err() != nil || s.relay.serving() != pid || dead(pid) {
		return // no one waits for it, or there will be another process
	}
	if s.failures++; s.attached && s.failures < attempts {
		s.notBefore = time.Now().Add(betweenThem)
		return
	}
	s.fail(fmt.Errorf("attach to pid %d: %w", pid, err))
}

// lost deals with a dlv that ended unasked.
func (s *rpcSession) lost() {
	pid, said := s.backend.pid, s.backend.debugger.Said()
	if said == "" {
		said = errDelveEnded.Error()
	}
	s.part(s.backend.debugger.End, said)
	s.unreachable(pid, errors.New(said))
}

// request deals with one request of the client.
func (s *rpcSession) request(m rpcMessage) {
	switch {
	case m.Method == "RPCServer.Restart":
		s.restart(m)
	case m.Method == methodDetach:
		// The client must not end the server, even if it asks to.
		if s.backend != nil {
			s.letGo()
		}
		s.send(rpcMessage{ID: m.ID, Result: json.RawMessage("{}")})
		s.ended = true
	case m.Method == "":
		s.fail(noMethod())
	case s.backend == nil:
		s.held = append(s.held, m)
	case m.Method == methodCommand && waits(m):
		s.command(m)
	default:
		s.backend.forward(s.toProgram(m), m)
	}
}

// waits reports whether a command lets the process run until it stops.
func waits(m rpcMessage) bool {
	var in commandIn
	if len(m.Params) != 1 || json.Unmarshal(m.Params[0], &in) != nil {
		return false // dlv will refuse it
	}
	return !slices.Contains([]string{"halt", "switchThread", "switchGoroutine"}, in.Name)
}

func (s *rpcSession) command(m rpcMessage) {
	s.runningID = s.backend.forward(m, m)
	s.running = &m
}

// restart builds and runs the server again, as an edit would.
func (s *rpcSession) restart(m rpcMessage) {
	s.tasks.Go(func() {
		answer := rpcMessage{ID: m.ID, Result: json.RawMessage(`{"DiscardedBreakpoints":null}`)}
		if err := s.relay.Restart(s.ctx); err != nil {
			answer = rpcFailure(m.ID, err.Error())
		}
		select {
		case s.restarts <- answer:
		case <-s.ctx.Done():
		}
	})
}

// answer deals with one message of dlv.
func (s *rpcSession) answer(m rpcMessage) {
	id := string(m.ID)
	if id == s.listing && m.failure() == "" {
		s.listed(m.Result)
	}
	request, ok := s.backend.pending[id]
	if !ok { // an answer to the relay
		return
	}
	if id == s.runningID && exited(m) {
		return // the session outlives the process: the next one goes on
	}
	delete(s.backend.pending, id)
	if id == s.runningID {
		s.running, s.runningID = nil, ""
	}
	m.ID = request.ID
	s.send(s.toClient(m))
	if m.failure() == "" && changesBreakpoints(request.Method) {
		s.stale = true
	}
	// Ask at once: dlv cannot list them once the process runs or is gone, and
	// while it runs, dlv would only wait.
	if s.stale && s.running == nil {
		list, _ := json.Marshal(listIn{})
		s.listing = s.backend.post(methodList, []json.RawMessage{list})
	}
}

// exited reports whether a command ended with the process.
func exited(m rpcMessage) bool {
	// The second is what dlv says of a process that is just being killed.
	for _, text := range []string{"has exited with status", syscall.ESRCH.Error()} {
		if strings.Contains(m.failure(), text) {
			return true
		}
	}
	var out commandOut
	return json.Unmarshal(m.Result, &out) == nil && out.State.Exited
}
