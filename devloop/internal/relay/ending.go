package relay

import (
	"time"

	"devloop/internal/dap"
)

// finishTimeout bounds how long dlv may take to let go of a process.
const finishTimeout = 10 * time.Second

// An ending is the last conversation with a dlv, one request after the other.
type ending struct {
	*backend
	deadline *time.Timer
	said     func(dap.Message) // gets what is not an answer to it
	late     bool              // nothing is waited for any more
}

// until reads what dlv says, until done.
func (e *ending) until(done func(dap.Message) bool) {
	for !e.late {
		select {
		case m, ok := <-e.messages:
			if !ok {
				e.late = true
				return
			}
			e.note(m)
			if done(m) {
				return
			}
			e.said(m)
		case <-e.deadline.C:
			e.late = true
		}
	}
}

// call returns the answer to a request, or none if that does not come.
func (e *ending) call(m dap.Message) (response dap.Message) {
	seq, err := e.conn.Send(m)
	if err != nil {
		return response
	}
	e.until(func(m dap.Message) bool {
		if m.Type == dap.Response && m.RequestSeq == seq {
			response = m
		}
		return response.Type == dap.Response
	})
	return response
}

// halt returns when the process is paused and dlv has said so.
func (e *ending) halt() {
	if !e.runs {
		return
	}
	if e.call(dap.NewRequest("pause", map[string]int{"threadId": 1})).Success && e.runs {
		e.until(func(dap.Message) bool { return !e.runs })
	}
}

// resume lets the process run.
func (e *ending) resume() {
	e.runs = true // before a stop at once, which may be told before the answer
	if !e.call(dap.NewRequest("continue", map[string]int{"threadId": 1})).Success {
		e.runs = false
	}
}
