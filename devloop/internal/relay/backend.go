package relay

import (
	"time"

	"devloop/internal/dap"
)

// finishTimeout bounds how long dlv may take to let go of a process.
const finishTimeout = 4 * time.Second

// A backend is a dlv that serves one editor's session for one process.
type backend struct {
	debugger Debugger
	conn     *dap.Conn
	messages chan dap.Message // closed when dlv has gone
	stop     chan struct{}
	pending  map[int]call // by the number under which dlv knows the request
	pid      int          // what it is attached to, or about to be; 0 before that
	began    time.Time
	numbers  map[int]int // the editor's numbers of breakpoints, by dlv's

	runs     bool // the process runs, as far as dlv has said
	stepping bool // a step has begun and, if it has stopped, did so elsewhere
}

// A call is a request that dlv has not answered yet.
type call struct {
	request *dap.Message // the editor's, who awaits the answer, or nil
	done    func(response dap.Message)
}

func newBackend(d Debugger) *backend {
	b := &backend{
		debugger: d, conn: dap.NewConn(d, nil), messages: make(chan dap.Message), stop: make(chan struct{}),
		pending: make(map[int]call), began: time.Now(), numbers: make(map[int]int),
	}
	go func() {
		defer close(b.messages)
		for {
			m, err := b.conn.Receive()
			if err != nil {
				return
			}
			select {
			case b.messages <- m:
			case <-b.stop:
				return
			}
		}
	}()
	return b
}

// pass sends an editor's request to dlv; done is called with the answer.
func (b *backend) pass(m dap.Message, done func(dap.Message)) { b.send(m, call{&m, done}) }

// ask sends a request of the relay's own.
func (b *backend) ask(m dap.Message, done func(dap.Message)) { b.send(m, call{nil, done}) }

// send leaves the call pending in any case: a dlv that cannot be written to is
// about to close its side, which is noticed there.
func (b *backend) send(m dap.Message, c call) {
	seq, err := b.conn.Send(m)
	if err != nil {
		b.debugger.Close()
	}
	b.pending[seq] = c
}

// take returns the call that a message answers. Dlv answers some twice.
func (b *backend) take(m dap.Message) (call, bool) {
	if m.Type != dap.Response {
		return call{}, false
	}
	c, ok := b.pending[m.RequestSeq]
	delete(b.pending, m.RequestSeq)
	return c, ok
}

// note keeps track of what an event says about the process.
func (b *backend) note(m dap.Message) {
	switch m.Event {
	case "stopped":
		var body struct {
			Reason string `json:"reason"`
		}
		_ = m.Field("body", &body) // a stop all the same
		b.runs = false
		if body.Reason == "step" || body.Reason == "pause" {
			b.stepping = false
		}
	case "continued":
		b.runs = true
	case "exited", "terminated":
		b.runs, b.stepping = false, false
	}
}

// finish has dlv let go of the process, which runs on without breakpoints, and
// end. What dlv says meanwhile goes to said. Clear are requests that take the
// editor's breakpoints away.
func (b *backend) finish(clear []dap.Message, said func(dap.Message)) {
	deadline := time.NewTimer(finishTimeout)
	defer deadline.Stop()
	until := func(done func(dap.Message) bool) {
		for {
			select {
			case m, ok := <-b.messages:
				if !ok || done(m) {
					return
				}
				b.note(m)
				said(m)
			case <-deadline.C:
				return
			}
		}
	}
	answered := func(seq int) func(dap.Message) bool {
		return func(m dap.Message) bool { return m.Type == dap.Response && m.RequestSeq == seq }
	}
	call := func(m dap.Message) {
		if seq, err := b.conn.Send(m); err == nil {
			until(answered(seq))
		}
	}
	// A step leaves breakpoints of its own in the process, which dlv takes away
	// when it stops at its end or is paused, but not when it detaches.
	if b.stepping && !b.runs {
		for _, m := range clear {
			call(m)
		}
		call(dap.NewRequest("continue", map[string]int{"threadId": 1}))
		b.runs = true
	}
	if b.runs {
		if seq, err := b.conn.Send(dap.NewRequest("pause", map[string]int{"threadId": 1})); err == nil {
			until(func(m dap.Message) bool {
				failed := answered(seq)(m) && !m.Success
				return failed || m.Event == "stopped" || m.Event == "terminated"
			})
		}
	}
	// A signal would not do: dlv may wait for the process for ever then.
	call(dap.NewRequest("disconnect", map[string]bool{"terminateDebuggee": false}))
	b.close()
}

// kill ends a dlv whose process is dead.
func (b *backend) kill() {
	close(b.stop)
	b.debugger.Kill()
}

func (b *backend) close() {
	close(b.stop)
	b.debugger.End()
}
