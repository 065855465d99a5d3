package relay

import (
	"time"

	"devloop/internal/dap"
)

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
// about to close its side, which the reader notices.
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
// end. Other messages of dlv go to said. The requests in clear remove the
// editor's breakpoints.
func (b *backend) finish(clear []dap.Message, said func(dap.Message)) {
	e := &ending{backend: b, deadline: time.NewTimer(finishTimeout), said: said}
	defer e.deadline.Stop()
	e.halt()
	// A step leaves its own breakpoints in the process, which dlv takes away
	// when the process halts in the midst of it, or it ends, but not when dlv
	// detaches. And the signal that halts the process may be left, and end it.
	for unfinished := b.stepping || trapPending(b.pid); unfinished && !e.late; unfinished = trapPending(b.pid) {
		for _, m := range clear {
			e.call(m)
		}
		e.resume()
		e.halt()
	}
	// A signal would not do: dlv may wait for the process for ever then.
	e.call(dap.NewRequest("disconnect", map[string]bool{"terminateDebuggee": false}))
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
