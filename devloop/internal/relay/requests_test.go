package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"devloop/internal/dap"
)

// TestDebug checks what a session does with each kind of request in each phase:
// dlv gets it, the session holds it, or the editor gets a success or a failure.
func TestDebug(t *testing.T) {
	const (
		dlv       = "dlv gets it"
		configure = "dlv gets it, and the editor has time for more"
		goLive    = "dlv gets it, and the session is live"
		held      = "held"
		done      = "success"
		begin     = `failure: send "initialize" first`
		gone      = "failure: the server has been reloaded: what was stopped is gone"
		reloading = "failure: the server is being reloaded"
	)
	tests := map[string][5]string{
		//                   no initialize, idle, away, configuring, live
		"setBreakpoints":          {begin, dlv, held, configure, dlv},
		"setExceptionBreakpoints": {begin, dlv, held, configure, dlv},
		"configurationDone":       {begin, dlv, held, goLive, done},
		"continue":                {begin, dlv, done, done, dlv},
		"next":                    {begin, dlv, gone, gone, dlv},
		"stepIn":                  {begin, dlv, gone, gone, dlv},
		"pause":                   {begin, dlv, held, held, dlv},
		"stackTrace":              {begin, dlv, reloading, dlv, dlv},
		"evaluate":                {begin, dlv, reloading, dlv, dlv},
		"threads":                 {begin, dlv, held, dlv, dlv},
		"unheardOf":               {begin, dlv, held, dlv, dlv},
	}
	for command, want := range tests {
		for i, p := range []phase{idle, idle, away, configuring, live} {
			r := newRecorded(p, i > 0 && p != away)
			r.session.debug(dap.NewRequest(command, nil))
			if got := r.outcome(t); got != want[i] {
				t.Errorf("debug(%s) in phase %d, dlv %t: %s, want: %s", command, p, i > 0, got, want[i])
			}
		}
	}
}

// A recorded is a session of which the writes to either side are kept.
type recorded struct {
	session *session
	before  phase
	editor  *wire
	dlv     *wire
}

// newRecorded returns a session that was attached before and is in a phase now,
// with or without a dlv.
func newRecorded(p phase, withDelve bool) *recorded {
	r := &recorded{before: p, editor: &wire{}, dlv: &wire{}}
	r.session = &session{
		versions: versions{},
		relay:    &Relay{Reporter: silent{}}, holder: &holder{}, client: dap.NewConn(r.editor, nil), ctx: context.Background(),
		phase: p, attached: true, window: stoppedTimer(), retry: stoppedTimer(),
	}
	if withDelve {
		r.session.backend = &backend{conn: dap.NewConn(r.dlv, nil), pending: make(map[int]call), numbers: make(map[int]int)}
	}
	return r
}

// outcome says what the session did with a request.
func (r *recorded) outcome(t *testing.T) string {
	t.Helper()
	s := r.session
	answers := r.editor.messages(t)
	switch forwarded := len(r.dlv.messages(t)); {
	case forwarded == 1 && s.phase == live && r.before == configuring:
		return "dlv gets it, and the session is live"
	case forwarded == 1 && s.window.Stop():
		return "dlv gets it, and the editor has time for more"
	case forwarded == 1 && len(answers) == 0:
		return "dlv gets it"
	case forwarded == 0 && len(s.held) == 1 && len(answers) == 0:
		return "held"
	case forwarded == 0 && len(answers) == 1 && answers[0].Success:
		return "success"
	case forwarded == 0 && len(answers) == 1:
		return "failure: " + failure(answers[0])
	default:
		t.Fatalf("%d messages to dlv, answers %+v, held %+v", forwarded, answers, s.held)
		return ""
	}
}

// A wire keeps what is written to it.
type wire struct {
	net.Conn // nil: a session does nothing else with it
	bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)       { return w.Buffer.Read(p) }
func (w *wire) Write(p []byte) (int, error)      { return w.Buffer.Write(p) }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// messages returns what was written, and forgets it.
func (w *wire) messages(t *testing.T) []dap.Message {
	t.Helper()
	var all []dap.Message
	for in := dap.NewConn(w, nil); ; {
		m, err := in.Receive()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// silent is a Reporter that keeps nothing.
type silent struct{}

func (silent) DebuggerAttached(string, int)           {}
func (silent) DebuggerMoved(int, time.Duration, bool) {}
func (silent) DebuggerDetached(string)                {}
func (silent) DebuggerFailed(string, error)           {}
func (silent) BreakpointLost(string, int)             {}
