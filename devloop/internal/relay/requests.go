package relay

import (
	"cmp"

	"devloop/internal/dap"
)

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

// withoutTermination hides what would end the server, which an editor must not.
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
		if s.relay.serving() == 0 {
			s.tell("nothing serves yet: attaching as soon as something does")
		}
	}
}

// A kind is what a request asks of the process that is debugged.
type kind int

const (
	other      kind = iota
	configure       // set something that lasts, such as breakpoints
	configured      // "configurationDone"
	resume          // "continue"
	step
	pause
	inspect // look at something that is stopped
)

func kindOf(m dap.Message) kind {
	switch m.Command {
	case "setBreakpoints", "setFunctionBreakpoints", "setExceptionBreakpoints":
		return configure
	case "configurationDone":
		return configured
	case "continue":
		return resume
	case "next", "stepIn", "stepOut", "stepBack", "reverseContinue", "goto":
		return step
	case "pause":
		return pause
	case "stackTrace", "scopes", "variables", "evaluate", "setVariable", "setExpression",
		"exceptionInfo", "source", "disassemble", "readMemory", "writeMemory":
		return inspect
	}
	return other
}

// debug deals with a request that is about the process. What it does depends on
// how far the session has come with that process.
func (s *session) debug(m dap.Message) {
	type row [ended]func(dap.Message) // one for each phase before the end
	table := map[kind]row{
		//          idle     away        configuring live
		configure:  {s.early, s.hold, s.configure, s.forward},
		configured: {s.early, s.hold, s.complete, s.confirm},
		resume:     {s.early, s.resumes, s.resumes, s.forward},
		step:       {s.early, s.gone, s.gone, s.forward},
		pause:      {s.early, s.hold, s.hold, s.forward},
		inspect:    {s.early, s.reloading, s.forward, s.forward},
		other:      {s.early, s.hold, s.forward, s.forward},
	}
	table[kindOf(m)][s.phase](m)
}

// early deals with a request that comes before "attach".
func (s *session) early(m dap.Message) {
	if s.backend == nil {
		s.send(dap.NewFailure(m, "send \"initialize\" first"))
		return
	}
	s.forward(m) // dlv refuses it in its own words
}

// hold keeps a request until there is a process that can take it.
func (s *session) hold(m dap.Message) { s.held = append(s.held, m) }

// configure has dlv set something, and gives the editor time for its next
// request of the kind.
func (s *session) configure(m dap.Message) {
	s.forward(m)
	if s.attached {
		s.window.Reset(cmp.Or(s.relay.inBetween, inBetween))
	}
}

// complete ends the configuration: the process runs.
func (s *session) complete(m dap.Message) {
	s.forward(m)
	s.goLive()
}

// confirm answers an editor that ends its configuration after the relay has
// replayed it.
func (s *session) confirm(m dap.Message) { s.send(dap.NewResponse(m, nil)) }

// resumes answers "continue": the new process runs as soon as it is configured.
func (s *session) resumes(m dap.Message) {
	s.send(dap.NewResponse(m, map[string]bool{"allThreadsContinued": true}))
}

// gone refuses a step of what was stopped in the previous process.
func (s *session) gone(m dap.Message) {
	s.send(dap.NewFailure(m, "the server has been reloaded: what was stopped is gone"))
}

// reloading refuses to look at what was stopped while there is no process.
func (s *session) reloading(m dap.Message) {
	s.send(dap.NewFailure(m, "the server is being reloaded"))
}

// forward passes a request on and brings back the answer.
func (s *session) forward(m dap.Message) {
	if configures(m) {
		s.config.record(m)
		var in breakpointsIn
		if m.Command == "setBreakpoints" && m.Field("arguments", &in) == nil {
			s.versions.renew(s.source(in.Source.Path))
		}
	}
	b := s.backend
	steps, stood := kindOf(m) == step, !b.runs
	resumes := steps || kindOf(m) == resume
	if resumes {
		b.runs, b.stepping = true, b.stepping || steps
	}
	b.send(s.toProgram(m), call{&m, func(response dap.Message) {
		switch {
		case configures(m):
			response = s.config.answered(m, response, b.numbers)
		case resumes && response.Success:
			s.stopped = 0
		case resumes && stood: // it still does: dlv has refused
			b.runs = false
		}
		s.send(answerTo(m, response))
	}})
}

// leave ends the session as the editor wishes; the server keeps serving.
func (s *session) leave(m dap.Message) {
	s.phase = ended
	if s.backend != nil {
		s.detach(func(said dap.Message) {
			if said.Type == dap.Event && said.Event == "output" {
				s.send(said)
			}
		})
	}
	s.relay.giveUp(s.holder) // before the editor knows: it may come again
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
