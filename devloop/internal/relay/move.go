package relay

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"devloop/internal/dap"
)

// follow attaches dlv to the process that serves, and to no other.
func (s *session) follow() {
	if s.attach.Command == "" || s.refreshed != nil {
		return
	}
	serving := s.relay.serving()
	if s.backend != nil && s.backend.pid != 0 && s.backend.pid != serving {
		s.letGo()
	}
	unattached := s.backend == nil || s.backend.pid == 0
	// The supervisor replaces a process that is dead.
	if unattached && serving != 0 && !dead(serving) && !time.Now().Before(s.notBefore) {
		s.reach(serving)
	}
}

// letGo detaches dlv from a process that ends or has ended.
func (s *session) letGo() {
	s.detach(func(dap.Message) {})
	s.resumed()
}

// resumed tells the editor that nothing is stopped any more, so it drops
// what it shows of it.
func (s *session) resumed() {
	if s.stopped != 0 {
		s.send(dap.NewEvent("continued", map[string]any{"threadId": s.stopped, "allThreadsContinued": true}))
		s.stopped = 0
	}
}

// detach ends dlv and what the editor still waits for from it.
func (s *session) detach(said func(dap.Message)) {
	b := s.backend
	clear := s.config.cleared()
	for i, m := range clear {
		clear[i] = s.toProgram(m)
	}
	b.finish(clear, func(m dap.Message) {
		m = s.toEditor(m)
		c, ok := b.take(m)
		switch {
		case ok && c.request != nil: // the editor gets its answer even now
			c.done(m)
		case m.Type == dap.Event:
			said(m)
		}
	})
	for _, m := range s.parted() {
		if configures(m) && s.phase == away {
			s.held = append(s.held, m)
			continue
		}
		s.send(dap.NewFailure(m, "the server has been reloaded"))
	}
}

// parted tidies up when dlv is gone, and returns the requests
// that it has not answered.
func (s *session) parted() (unanswered []dap.Message) {
	for _, seq := range slices.Sorted(maps.Keys(s.backend.pending)) {
		if m := s.backend.pending[seq].request; m != nil && m.Command != "initialize" {
			unanswered = append(unanswered, *m)
		}
	}
	s.backend = nil
	s.window.Stop()
	s.relay.hold(s.holder, 0)
	if s.phase == configuring || s.phase == live {
		s.phase = away
	}
	return unanswered
}

// reach attaches dlv to a process.
func (s *session) reach(pid int) {
	if s.backend == nil {
		b, err := s.start()
		if err != nil {
			s.unreachable(pid, err.Error())
			return
		}
		s.backend = b
		b.ask(s.initialize, func(dap.Message) {})
	}
	b := s.backend
	b.pid = pid
	s.relay.hold(s.holder, pid)
	b.began = time.Now()
	b.ask(s.attachTo(pid), func(response dap.Message) {
		if response.Success && !s.relay.missesThread(pid) {
			s.reached()
			return
		}
		b.finish(nil, func(dap.Message) {})
		s.parted()
		switch {
		case !response.Success:
			s.unreachable(pid, failure(response))
		case s.failures+1 < attempts: // follow tries again at once, even while the editor waits
			s.failures++
		default:
			s.unreachable(pid, errUntraced.Error())
		}
	})
}

// attachTo is the editor's request for one process. Editors ask for the mode
// "remote", since to them this is a remote dlv.
func (s *session) attachTo(pid int) dap.Message {
	arguments := make(map[string]json.RawMessage)
	_ = s.attach.Field("arguments", &arguments) // none
	for _, name := range []string{"host", "port", "waitFor"} {
		delete(arguments, name)
	}
	arguments["mode"] = json.RawMessage(`"local"`)
	arguments["processId"], _ = json.Marshal(pid)
	if s.attached { // a reload is no reason to stop
		arguments["stopOnEntry"] = json.RawMessage("false")
	}
	return dap.NewRequest("attach", arguments)
}

// failure returns the text of a failed response.
func failure(response dap.Message) string {
	var body struct {
		Error struct {
			Format string `json:"format"`
		} `json:"error"`
	}
	var message string
	_ = response.Field("message", &message)
	_ = response.Field("body", &body)
	if body.Error.Format != "" {
		return body.Error.Format
	}
	return message
}

// unreachable tries again, or ends the session. It does not keep an editor
// waiting that waits for the answer.
func (s *session) unreachable(pid int, why string) {
	if s.relay.serving() != pid || dead(pid) {
		return // there will be another process
	}
	if s.failures++; s.unanswered == nil && s.failures < attempts {
		s.notBefore = time.Now().Add(betweenThem)
		s.retry.Reset(betweenThem)
		return
	}
	err := fmt.Errorf("attach to pid %d: %s", pid, why)
	s.relay.Reporter.DebuggerFailed(s.holder.client, err)
	if m := s.unanswered; m != nil {
		s.unanswered = nil
		s.send(dap.NewFailure(*m, why))
		s.phase = ended
		return
	}
	s.fault, s.phase = err, ended
}

// reached has the editor send its configuration. The process is paused
// until that is done.
func (s *session) reached() {
	s.phase = configuring
	s.failures = 0
	s.names = s.relay.named(s.backend.pid, s.names)
	s.config.renew()
	s.send(dap.NewEvent("initialized", nil))
	if m := s.unanswered; m != nil {
		s.unanswered = nil
		s.send(dap.NewResponse(*m, nil))
	}
	if s.attached {
		s.window.Reset(cmp.Or(s.relay.unasked, unasked))
	}
	s.release(s.phase)
}

// release deals with what was held until this phase.
func (s *session) release(p phase) {
	held := s.held
	s.held = nil
	for _, m := range held {
		if s.phase == p {
			s.request(m)
		} else {
			s.held = append(s.held, m)
		}
	}
}

// replay sends the configuration that the editor did not send again, and has
// the process run.
func (s *session) replay() {
	if s.phase != configuring {
		return
	}
	b := s.backend
	s.followLines()
	for _, m := range s.config.missing() {
		b.ask(s.toProgram(m), func(response dap.Message) {
			for _, event := range s.config.replayed(m, response, b.numbers) {
				s.send(event)
			}
		})
	}
	b.ask(dap.NewRequest("configurationDone", nil), func(dap.Message) {})
	s.goLive()
}

// goLive begins debugging; dlv has the request that ends the configuration.
func (s *session) goLive() {
	s.phase = live
	s.backend.runs = !s.stopsOnEntry()
	s.window.Stop()
	if s.attached {
		s.relay.Reporter.DebuggerMoved(s.backend.pid, time.Since(s.backend.began), false)
		s.tell(fmt.Sprintf("now debugging the reloaded server, pid %d", s.backend.pid))
	} else {
		s.attached = true
		s.relay.Reporter.DebuggerAttached(s.holder.client, s.backend.pid)
	}
	s.release(live)
}

// answer deals with one message of dlv.
func (s *session) answer(m dap.Message) {
	switch m.Type {
	case dap.Response:
		if c, ok := s.backend.take(m); ok {
			c.done(m)
		}
	case dap.Event:
		s.event(m)
	}
}

// stopsOnEntry reports whether the editor wants the process paused
// once it is attached to, for the first time.
func (s *session) stopsOnEntry() bool {
	var arguments struct {
		StopOnEntry bool `json:"stopOnEntry"`
	}
	_ = s.attach.Field("arguments", &arguments) // dlv has read it
	return arguments.StopOnEntry && !s.attached
}

// event deals with one event of dlv.
func (s *session) event(m dap.Message) {
	s.backend.note(m)
	switch m.Event {
	case "initialized", "capabilities": // the relay sends its own
	case "exited", "terminated": // the session outlives the process
		s.letGo()
	case "stopped":
		var body struct {
			ThreadID int `json:"threadId"`
		}
		_ = m.Field("body", &body) // the thread has no number then
		s.stopped = max(1, body.ThreadID)
		if body.ThreadID < 0 {
			s.stopped = body.ThreadID
		}
		s.send(renumber(m, s.backend.numbers))
	case "continued":
		s.stopped = 0
		s.send(m)
	case "output":
		if s.phase == live || !s.attached { // dlv greets at each attach
			s.send(m)
		}
	default:
		s.send(m)
	}
}

// lost deals with a dlv that ended unasked, most likely at a request that it
// could not read.
func (s *session) lost() {
	b := s.backend
	b.close()
	said := b.debugger.Said()
	if said == "" {
		said = errDelveEnded.Error()
	}
	s.resumed()
	for _, m := range s.parted() {
		s.config.forget(m) // it may be what dlv ended at
		s.send(dap.NewFailure(m, said))
	}
	if s.phase == idle {
		if m := s.unanswered; m != nil {
			s.send(dap.NewFailure(*m, said))
		}
		s.fault, s.phase = errors.New(said), ended
		return
	}
	s.unreachable(b.pid, said)
}

// look ends a dlv that has not noticed the end of its process.
func (s *session) look() {
	if s.backend == nil || s.backend.pid == 0 || !dead(s.backend.pid) {
		return
	}
	s.resumed()
	s.backend.kill()
	for _, m := range s.parted() {
		s.send(dap.NewFailure(m, "the server has died"))
	}
}
