// Package editor is a scripted client of the Debug Adapter Protocol: it does
// what VS Code and other editors do when a person debugs.
package editor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/google/go-dap"
)

// A Style is how an editor takes a second "initialized" event.
type Style int

// The styles.
const (
	Reconfigures Style = iota // sends its breakpoints again, as VS Code and nvim-dap do
	Ignores                   // as Zed does
)

// An Editor is connected until Close. Its methods may be used by one goroutine.
type Editor struct {
	Style Style

	conn net.Conn
	done chan struct{} // closed when the connection has ended

	mu       sync.Mutex
	seq      int
	file     string // with the breakpoint, or empty
	line     int
	attached bool
	messages []dap.Message
	taken    int           // messages before it were looked at
	arrived  chan struct{} // closed and replaced with each message
}

// Connect connects to a debug adapter.
func Connect(ctx context.Context, addr string, style Style) (*Editor, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	e := &Editor{Style: style, conn: conn, done: make(chan struct{}), arrived: make(chan struct{})}
	go e.read()
	return e, nil
}

// Close cuts the connection.
func (e *Editor) Close() error {
	err := e.conn.Close()
	<-e.done
	return err
}

// Done is closed when the connection has ended.
func (e *Editor) Done() <-chan struct{} { return e.done }

func (e *Editor) read() {
	defer close(e.done)
	in := bufio.NewReader(e.conn)
	for {
		m, err := dap.ReadProtocolMessage(in)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.messages = append(e.messages, m)
		close(e.arrived)
		e.arrived = make(chan struct{})
		_, initialized := m.(*dap.InitializedEvent)
		again := initialized && e.Style == Reconfigures && e.attached
		e.mu.Unlock()
		if again {
			_ = e.configure() // a broken connection shows in done
		}
	}
}

// send sends a request and returns its number.
func (e *Editor) send(command string, arguments any) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	m := map[string]any{"seq": e.seq, "type": "request", "command": command}
	if arguments != nil {
		m["arguments"] = arguments
	}
	content, err := json.Marshal(m)
	if err != nil {
		return 0, err
	}
	return e.seq, dap.WriteBaseMessage(e.conn, content)
}

// Send sends a request and does not wait for its answer.
func (e *Editor) Send(command string, arguments any) error {
	_, err := e.send(command, arguments)
	return err
}

// next returns the first message, among those not looked at, that is wanted.
func (e *Editor) next(ctx context.Context, what string, wanted func(dap.Message) bool) (dap.Message, error) {
	e.mu.Lock()
	from := e.taken
	e.mu.Unlock()
	for {
		e.mu.Lock()
		for i := from; i < len(e.messages); i++ {
			if wanted(e.messages[i]) {
				e.taken = i + 1
				m := e.messages[i]
				e.mu.Unlock()
				return m, nil
			}
		}
		from = len(e.messages)
		arrived := e.arrived
		e.mu.Unlock()
		select {
		case <-arrived:
		case <-e.done:
			return nil, fmt.Errorf("the connection ended before %s; %s", what, e.last())
		case <-ctx.Done():
			return nil, fmt.Errorf("waited for %s: %w; %s", what, context.Cause(ctx), e.last())
		}
	}
}

// last describes the latest messages.
func (e *Editor) last() string {
	const most = 12
	e.mu.Lock()
	defer e.mu.Unlock()
	text := "the last messages:"
	for _, m := range e.messages[max(0, len(e.messages)-most):] {
		b, _ := json.Marshal(m)
		text += fmt.Sprintf("\n  %.300s", b)
	}
	return text
}

// Call sends a request and waits for the answer, which may come before events
// that were not looked at yet.
func (e *Editor) Call(ctx context.Context, command string, arguments any) (dap.ResponseMessage, error) {
	seq, err := e.send(command, arguments)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	before := e.taken
	e.mu.Unlock()
	m, err := e.next(ctx, "the answer to "+command, func(m dap.Message) bool {
		r, ok := m.(dap.ResponseMessage)
		return ok && r.GetResponse().RequestSeq == seq
	})
	e.mu.Lock()
	e.taken = before
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r := m.(dap.ResponseMessage)
	if failed := r.GetResponse(); !failed.Success {
		why := failed.Message
		if f, ok := m.(*dap.ErrorResponse); ok && f.Body.Error != nil {
			why = f.Body.Error.Format
		}
		return r, fmt.Errorf("%s: %s", command, why)
	}
	return r, nil
}

// Attach is what "request": "attach", "mode": "remote" does in an editor, with
// a breakpoint in a file, if one is named. Paths are the editor's; the server's begin with
// there, where the editor's begin with here.
func (e *Editor) Attach(ctx context.Context, here, there, file string, line int) error {
	_, err := e.Call(ctx, "initialize", dap.InitializeRequestArguments{
		ClientID: "e2e", ClientName: "a scripted editor", AdapterID: "go", PathFormat: "path", LinesStartAt1: true, ColumnsStartAt1: true,
	})
	if err != nil {
		return err
	}
	seq, err := e.send("attach", map[string]any{
		"request": "attach", "mode": "remote", "substitutePath": []map[string]string{{"from": here, "to": there}},
	})
	if err != nil {
		return err
	}
	if _, err := e.next(ctx, "initialized", func(m dap.Message) bool {
		_, ok := m.(*dap.InitializedEvent)
		f, failed := m.(dap.ResponseMessage)
		return ok || failed && f.GetResponse().RequestSeq == seq
	}); err != nil {
		return err
	}
	e.Break(file, line)
	if err := e.configure(); err != nil {
		return err
	}
	_, err = e.next(ctx, "the answer to configurationDone", func(m dap.Message) bool {
		_, ok := m.(*dap.ConfigurationDoneResponse)
		return ok
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.attached = err == nil
	return err
}

// Break notes where the breakpoint is, for the next time that it is sent.
func (e *Editor) Break(file string, line int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.file, e.line = file, line
}

// configure sends the breakpoint and that there is no more.
func (e *Editor) configure() error {
	e.mu.Lock()
	file, line := e.file, e.line
	e.mu.Unlock()
	var err error
	if file != "" {
		err = e.Send("setBreakpoints", dap.SetBreakpointsArguments{Source: dap.Source{Path: file}, Breakpoints: []dap.SourceBreakpoint{{Line: line}}})
	}
	return errors.Join(
		err,
		e.Send("setExceptionBreakpoints", dap.SetExceptionBreakpointsArguments{Filters: []string{}}),
		e.Send("configurationDone", nil),
	)
}

// A Stop is where the process stopped.
type Stop struct {
	Thread   int
	File     string
	Line     int
	Function string
	Locals   map[string]string // of the innermost frame
}

// Stopped waits for the next stop and looks at it.
func (e *Editor) Stopped(ctx context.Context) (Stop, error) {
	m, err := e.next(ctx, "a stop", func(m dap.Message) bool {
		_, ok := m.(*dap.StoppedEvent)
		return ok
	})
	if err != nil {
		return Stop{}, err
	}
	s := Stop{Thread: m.(*dap.StoppedEvent).Body.ThreadId, Locals: map[string]string{}}
	stack, err := call[*dap.StackTraceResponse](ctx, e, "stackTrace", dap.StackTraceArguments{ThreadId: s.Thread, Levels: 1})
	if err != nil || len(stack.Body.StackFrames) == 0 {
		return s, errors.Join(errors.New("no stack"), err)
	}
	frame := stack.Body.StackFrames[0]
	s.Line, s.Function = frame.Line, frame.Name
	if frame.Source != nil {
		s.File = frame.Source.Path
	}
	scopes, err := call[*dap.ScopesResponse](ctx, e, "scopes", dap.ScopesArguments{FrameId: frame.Id})
	if err != nil {
		return s, err
	}
	for _, scope := range scopes.Body.Scopes {
		variables, err := call[*dap.VariablesResponse](ctx, e, "variables", dap.VariablesArguments{VariablesReference: scope.VariablesReference})
		if err != nil {
			return s, err
		}
		for _, v := range variables.Body.Variables {
			s.Locals[v.Name] = v.Value
		}
	}
	return s, nil
}

func call[R dap.ResponseMessage](ctx context.Context, e *Editor, command string, arguments any) (R, error) {
	m, err := e.Call(ctx, command, arguments)
	r, ok := m.(R)
	if err == nil && !ok {
		err = fmt.Errorf("%s is answered by %T", command, m)
	}
	return r, err
}

// Continue lets the process run on.
func (e *Editor) Continue(ctx context.Context, thread int) error {
	_, err := e.Call(ctx, "continue", dap.ContinueArguments{ThreadId: thread})
	return err
}

// Disconnect ends the session as the Stop button does, and the connection.
func (e *Editor) Disconnect(ctx context.Context) error {
	_, err := e.Call(ctx, "disconnect", dap.DisconnectArguments{})
	return errors.Join(err, e.Close())
}

// Forget drops what has come and was not looked at.
func (e *Editor) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taken = len(e.messages)
}

// Count returns how many messages came for which is reports true.
func (e *Editor) Count(is func(dap.Message) bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, m := range e.messages {
		if is(m) {
			n++
		}
	}
	return n
}

// Ended counts the events that tell an editor to end its session.
func (e *Editor) Ended() int {
	return e.Count(func(m dap.Message) bool {
		switch m.(type) {
		case *dap.TerminatedEvent, *dap.ExitedEvent:
			return true
		}
		return false
	})
}
