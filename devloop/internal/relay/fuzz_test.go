package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"devloop/internal/dap"
	"devloop/internal/relay"
)

// A pipeListener hands out one end of a connection.
type pipeListener struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A stage is a server that is debugged, of which nothing runs.
type stage struct {
	mu      sync.Mutex
	pid     int
	changed chan struct{}
	actors  []*actor
	wrong   []string // what the debuggers were asked for that must not be
	failure error    // of all starts of a debugger
}

func newStage() *stage { return &stage{pid: os.Getpid(), changed: make(chan struct{})} }

func (s *stage) Serving() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func (s *stage) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// refresh has nothing to do: the latest build serves.
func (s *stage) refresh(context.Context) error { return nil }

// swap has another process serve, in turn one of two that live.
func (s *stage) swap(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = os.Getpid() + os.Getppid() - s.pid
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// die ends the debugger that runs.
func (s *stage) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.actors {
		a.far.Close()
	}
}

func (s *stage) start(play func(*actor)) (relay.Debugger, error) {
	if s.failure != nil {
		return nil, s.failure
	}
	near, far := net.Pipe()
	a := &actor{Conn: near, far: far, stage: s, done: make(chan struct{})}
	s.mu.Lock()
	s.actors = append(s.actors, a)
	s.mu.Unlock()
	go func() {
		defer close(a.done)
		defer far.Close()
		play(a)
	}()
	return a, nil
}

func (s *stage) DAP(context.Context) (relay.Debugger, error) { return s.start((*actor).dap) }

func (s *stage) Attach(context.Context, int) (relay.Debugger, error) { return s.start((*actor).rpc) }

// An actor answers as dlv does. It is enough of one to get everywhere in a session.
type actor struct {
	net.Conn
	far   net.Conn
	stage *stage
	done  chan struct{}
	ended bool
}

func (a *actor) Said() string { return "" }

func (a *actor) End() {
	a.Close()
	<-a.done
	a.stage.mu.Lock()
	defer a.stage.mu.Unlock()
	a.ended = true
}

func (a *actor) Kill() { a.End() }

func (a *actor) refuse(what string) {
	a.stage.mu.Lock()
	defer a.stage.mu.Unlock()
	a.stage.wrong = append(a.stage.wrong, what)
}

func (a *actor) dap() {
	conn := dap.NewConn(a.far, nil)
	say := func(messages ...dap.Message) {
		for _, m := range messages {
			_, _ = conn.Send(m) // the next receive fails, too
		}
	}
	stopped := func(reason string) dap.Message {
		return dap.NewEvent("stopped", map[string]any{"reason": reason, "threadId": 1, "hitBreakpointIds": []int{1}})
	}
	for {
		m, err := conn.Receive()
		if err != nil {
			return
		}
		var in struct {
			Terminate   bool              `json:"terminateDebuggee"`
			Breakpoints []json.RawMessage `json:"breakpoints"`
		}
		if m.Field("arguments", &in) != nil {
			return // as dlv does
		}
		ok := dap.NewResponse(m, nil)
		switch m.Command {
		case "launch", "terminate", "restart":
			a.refuse(m.Command)
		case "initialize":
			say(dap.NewResponse(m, map[string]bool{"supportTerminateDebuggee": true, "supportsTerminateRequest": true}))
		case "attach":
			say(dap.NewEvent("initialized", nil), ok)
		case "setBreakpoints", "setFunctionBreakpoints":
			list := []map[string]any{}
			for i := range in.Breakpoints {
				list = append(list, map[string]any{"verified": i%2 == 0, "id": (i + 1) % 3})
			}
			say(dap.NewResponse(m, map[string]any{"breakpoints": list}))
		case "pause":
			say(ok, stopped("pause"))
		case "next", "stepIn":
			say(ok, stopped("step"))
		case "stepOut": // interrupted
			say(ok, stopped("breakpoint"))
		case "disconnect":
			if in.Terminate {
				a.refuse("disconnect and terminate")
			}
			say(dap.NewOutput("console", "Detaching"), ok, dap.NewEvent("terminated", nil))
			return
		case "threads":
			say(dap.NewEvent("continued", nil), ok, ok)
		case "exit":
			say(dap.NewEvent("exited", nil), dap.NewEvent("terminated", nil))
		default:
			say(dap.NewFailure(m, "no such request"))
		}
	}
}

func (a *actor) rpc() {
	in, out := json.NewDecoder(a.far), json.NewEncoder(a.far)
	var running json.RawMessage
	for {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params []struct {
				Name string `json:"name"`
				Kill bool
			} `json:"params"`
		}
		if in.Decode(&m) != nil {
			return
		}
		answer := func(id json.RawMessage, result, failure any) {
			_ = out.Encode(map[string]any{"id": id, "result": result, "error": failure}) // the next receive fails, too
		}
		name := ""
		if len(m.Params) > 0 {
			name = m.Params[0].Name
		}
		switch {
		case m.Method == "RPCServer.Restart", m.Method == "RPCServer.Detach" && len(m.Params) > 0 && m.Params[0].Kill:
			a.refuse(m.Method)
		case m.Method == "RPCServer.Command" && name == "continue":
			running = m.ID
		case m.Method == "RPCServer.Command":
			if running != nil {
				answer(running, map[string]any{"State": map[string]bool{"exited": name == "exit"}}, nil)
				running = nil
			}
			answer(m.ID, map[string]any{"State": map[string]bool{"NextInProgress": true}}, nil)
		case m.Method == "RPCServer.ListBreakpoints":
			answer(m.ID, map[string]any{"Breakpoints": []map[string]any{
				{"id": 2, "file": "a.go", "line": 1, "disabled": true}, {"id": 1, "file": "", "line": 0, "WatchExpr": ""}, {"id": -1}, {"id": 3, "WatchExpr": "x"},
			}}, nil)
		case m.Method == "RPCServer.Detach":
			answer(m.ID, struct{}{}, nil)
			return
		case strings.HasPrefix(m.Method, "RPCServer."):
			answer(m.ID, struct{}{}, nil)
		default:
			answer(m.ID, nil, "unknown method: "+m.Method)
		}
	}
}

// The ways in which FuzzSession reads its script.
const (
	rawBytes   byte = iota // as they are
	dapLines               // each line in a frame
	rpcLines               // each line with its end
	waysToRead             // how many there are
)

// FuzzSession has a client say anything, and the server be swapped and its
// debugger die meanwhile. The session ends with the connection at the latest,
// what the client gets is well-formed, and nothing asks to end the server.
func FuzzSession(f *testing.F) {
	for _, script := range []string{
		"Content-Length: 2\r\n\r\n{}", "Content-Length: 99999999999\r\n\r\n", "Content-Length: -1\r\n\r\n", "Content-Length: 70000000\r\n\r\n{",
		"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x00", "{]", "{", "", "\xff", `{"id":1}`, `{"id":[1],"method":"RPCServer.State","params":[{}]}`,
		"Content-Length: 43\r\n\r\n" + `{"seq":1,"type":"request","command":"next"}` + "Content-Length: x\r\n\r\n",
	} {
		f.Add(rawBytes, []byte(script))
	}
	const begin = `{"seq":0,"type":"request","command":"initialize","arguments":{"clientName":"x"}}
{"seq":-2,"type":"request","command":"attach","arguments":{"mode":"remote","stopOnEntry":true}}
{"seq":3,"type":"request","command":"setBreakpoints","arguments":{"source":{"path":"a.go"},"breakpoints":[{"line":1},{"line":2},{"line":3}]}}
{"seq":3,"type":"request","command":"configurationDone"}
`
	for _, script := range []string{
		begin + `{"seq":4,"type":"request","command":"pause"}` + "\nswap\nwait\n" + `{"seq":5,"type":"request","command":"disconnect","arguments":{"terminateDebuggee":true}}`,
		begin + `{"seq":4,"type":"request","command":"stepOut"}` + "\nswap\n" + `{"seq":4,"type":"request","command":"configurationDone"}` + "\nswap\nwait",
		begin + "die\nwait\nswap\n" + `{"seq":4,"type":"request","command":"restart"}` + "\ndie\ndie\ndie",
		begin + `{"seq":4,"type":"request","command":"setBreakpoints","arguments":[1]}` + "\nwait\nwait\nwait",
		begin + `{"seq":4,"type":"request","command":"threads"}` + "\n" + `{"seq":4,"type":"request","command":"exit"}` + "\nwait",
		begin + `{"seq":4,"type":"response","request_seq":1}` + "\n" + `{"seq":9,"type":"event","event":"stopped"}` + "\n" + `{"type":"request","command":"unknown"}`,
		`{"seq":1,"type":"request","command":"launch"}` + "\n" + `{"seq":1,"type":"request","command":"attach"}` + "\n" + `{"type":"request","command":"initialize"}` + "\n" + `{"type":"request","command":"terminate"}`,
		"{}", "[]", "null", `{"type":"request"}`, `{"type":"request","command":"initialize","arguments":"no"}`,
	} {
		f.Add(dapLines, []byte(script))
	}
	const create = `{"id":1,"method":"RPCServer.CreateBreakpoint","params":[{"Breakpoint":{"file":"a.go","line":1}}]}`
	for _, script := range []string{
		create + "\n" + `{"id":2,"method":"RPCServer.Command","params":[{"name":"continue"}]}` + "\nswap\nwait\n" + `{"id":3,"method":"RPCServer.Command","params":[{"name":"halt"}]}` + "\n" + `{"id":4,"method":"RPCServer.Detach","params":[{"Kill":true}]}`,
		create + "\n" + `{"id":2,"method":"RPCServer.Command","params":[{"name":"next"}]}` + "\nswap\ndie\nwait\nwait\n" + `{"id":2,"method":"RPCServer.Restart","params":[{}]}`,
		`{"id":2,"method":"RPCServer.Command","params":[{"name":"continue"}]}` + "\n" + `{"id":2,"method":"RPCServer.Command","params":[{"name":"exit"}]}` + "\nswap",
		`{"id":null,"method":"RPCServer.Detach"}`, `{"id":1,"method":"x"}` + "\n{]", `{"id":1,"method":"x"}` + "\n" + `{"id":1}`,
	} {
		f.Add(rpcLines, []byte(script))
	}
	f.Fuzz(func(t *testing.T, way byte, script []byte) {
		synctest.Test(t, func(t *testing.T) { playSession(t, newStage(), way%waysToRead, script) })
	})
}

// TestNoDelve tells a client of either protocol why there is no debugger.
func TestNoDelve(t *testing.T) {
	const why = "dlv was not found"
	for way, first := range map[byte]string{
		dapLines: `{"seq":1,"type":"request","command":"initialize"}`,
		rpcLines: `{"id":7,"method":"RPCServer.SetApiVersion","params":[{"APIVersion":2}]}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage()
			s.failure = errors.New(why)
			got := playSession(t, s, way, []byte(first))
			if !bytes.Contains(got, []byte(why)) {
				t.Errorf("%s is answered by %q, want %q in it", first, got, why)
			}
		})
	}
}

// playSession has a client follow a script, and returns all that it got. It
// ends only when no goroutine is left.
func playSession(t *testing.T, s *stage, way byte, script []byte) []byte {
	t.Helper()
	r := &relay.Relay{Server: s, Launcher: s, Reporter: &reports{}, Refresh: s.refresh, Restart: s.swap}
	listener := &pipeListener{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	client, served := net.Pipe()
	listener.conn <- served
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var tasks sync.WaitGroup
	tasks.Go(func() { r.Serve(ctx, listener) })
	var got bytes.Buffer
	tasks.Go(func() { _, _ = io.Copy(&got, client) })

	say := func(text string) { _, _ = io.WriteString(client, text) } // it may have been hung up on
	for line := range strings.SplitSeq(string(script), "\n") {
		switch {
		case way == rawBytes:
			say(string(script))
		case line == "swap":
			_ = s.swap(ctx) // which does not fail
		case line == "die":
			s.die()
		case line == "wait":
			time.Sleep(time.Second) // of the bubble's own clock
		case way == dapLines:
			say(fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(line), line))
		case way == rpcLines:
			say(line + "\n")
		}
		synctest.Wait()
		if way == rawBytes {
			break
		}
	}
	time.Sleep(15 * time.Second) // by then what it waits for has come
	synctest.Wait()
	client.Close()
	time.Sleep(15 * time.Second)
	cancel()
	tasks.Wait()
	if len(s.wrong) > 0 {
		t.Errorf("dlv was asked to %s", strings.Join(s.wrong, ", "))
	}
	for i, a := range s.actors {
		if !a.ended {
			t.Errorf("dlv %d of %d was not ended", i+1, len(s.actors))
		}
	}
	if err := wellFormed(got.Bytes()); err != nil {
		t.Errorf("the client got %q: %v", got.Bytes(), err)
	}
	return got.Bytes()
}

// wellFormed checks all that a client got.
func wellFormed(got []byte) error {
	if len(got) > 0 && got[0] == '{' {
		for in := json.NewDecoder(bytes.NewReader(got)); ; {
			var m map[string]json.RawMessage
			if err := in.Decode(&m); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if m["id"] == nil || m["result"] == nil || m["error"] == nil || len(m) != 3 {
				return fmt.Errorf("%v is not a response", m)
			}
		}
	}
	in := bufio.NewReader(bytes.NewReader(got))
	for want := 1; ; want++ {
		m, err := dap.Read(in)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case m.Seq != want:
			return fmt.Errorf("message %d has the number %d", want, m.Seq)
		case m.Type == dap.Request:
			return errors.New("it was asked for something")
		}
	}
}
