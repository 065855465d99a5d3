package relay_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"devloop/internal/dap"
	"devloop/internal/supervisor"
	"devloop/internal/testkit"
)

// TestReloads keeps one session over many builds whose breakpoint moves, with
// an editor that sends its breakpoints again and with one that does not.
func TestReloads(t *testing.T) {
	for _, reconfigures := range []bool{true, false} {
		t.Run(fmt.Sprintf("reconfigures %v", reconfigures), func(t *testing.T) {
			h := start(t)
			_, line := h.source(0)
			e := h.connect(reconfigures)
			e.attach(line)
			for shift := 1; shift <= 4; shift++ {
				h.hit(e, line)
				at := shift
				if !reconfigures {
					at = 0 // where the editor has it
				}
				_, line = h.source(at)
				e.move(line)
				h.reload(at)
				h.moved(shift)
			}
			h.hit(e, line)
			if n := e.count("terminated") + e.count("exited"); n > 0 {
				t.Errorf("%d events announced an end during the session, want 0", n)
			}
			e.call("disconnect", map[string]bool{"terminateDebuggee": true}) // which is not granted
			e.event("terminated")
			h.undisturbed()
			if strings.Contains(h.reports.text(), "crashed") {
				t.Error("the server crashed")
			}
		})
	}
}

// TestReplayedBreakpoint tells an editor that does not send its breakpoints
// again what became of them, under the numbers that it knows.
func TestReplayedBreakpoint(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	const nowhere = 1000
	e := h.connect(false)
	e.attach(0)
	type place struct {
		ID       int  `json:"id"`
		Verified bool `json:"verified"`
	}
	var set struct {
		Breakpoints []place `json:"breakpoints"`
	}
	if err := e.response(e.breakAt(nowhere, line)).Field("body", &set); err != nil {
		t.Fatal(err)
	}
	if b := set.Breakpoints; len(b) != 2 || b[0].Verified || !b[1].Verified || b[0].ID == 0 || b[1].ID == 0 || b[0].ID == b[1].ID {
		t.Fatalf("setBreakpoints(%d, %d) = %+v, want the second verified, and two numbers", nowhere, line, b)
	}
	h.reload(nowhere - line) // which makes the first one a place with code
	h.moved(1)
	for i, verified := range []bool{true, true} {
		var changed struct {
			Breakpoint place `json:"breakpoint"`
		}
		if err := e.event("breakpoint").Field("body", &changed); err != nil {
			t.Fatal(err)
		}
		if got := changed.Breakpoint; got.ID != set.Breakpoints[i].ID || i == 0 && got.Verified != verified {
			t.Errorf("event for breakpoint %d: %+v, want number %d, verified %v", i, got, set.Breakpoints[i].ID, verified)
		}
	}
	greeting := h.get("/debugged")
	var stopped struct {
		ThreadID int   `json:"threadId"`
		Hit      []int `json:"hitBreakpointIds"`
	}
	if err := e.event("stopped").Field("body", &stopped); err != nil {
		t.Fatal(err)
	}
	if len(stopped.Hit) != 1 || stopped.Hit[0] != set.Breakpoints[0].ID {
		t.Errorf("stopped at breakpoints %v, want %d", stopped.Hit, set.Breakpoints[0].ID)
	}
	e.continues(stopped.ThreadID)
	h.served(greeting)
}

// TestReloadWhile has a reload come when the editor is busy.
func TestReloadWhile(t *testing.T) {
	tests := []struct {
		name string
		busy func(e *editor, line int)
	}{
		{"stopped", func(e *editor, line int) { e.stoppedAt(line) }},
		{"stepping", func(e *editor, line int) { e.send("next", map[string]int{"threadId": e.stoppedAt(line)}) }},
		{"going on to the next stop", func(e *editor, line int) {
			e.send("continue", map[string]int{"threadId": e.stoppedAt(line)})
		}},
		{"refused a step back", func(e *editor, line int) { e.send("stepBack", map[string]int{"threadId": e.stoppedAt(line)}) }},
		{"looking at variables", func(e *editor, line int) {
			thread := e.stoppedAt(line)
			for range 20 {
				e.send("stackTrace", map[string]int{"threadId": thread})
			}
		}},
		{"setting a breakpoint", func(e *editor, line int) {
			e.stoppedAt(line)
			e.breakAt(line)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t)
			_, line := h.source(0)
			e := h.connect(true)
			e.attach(line)
			held := []<-chan answer{h.get("/debugged"), h.get("/debugged"), h.get("/debugged")}
			tt.busy(e, line)
			_, moved := h.source(2)
			e.move(moved)
			h.reload(2)
			for _, greeting := range held {
				h.served(greeting)
			}
			e.event("continued")
			h.moved(1)
			e.forget()
			h.hit(e, moved)
			e.call("disconnect", nil)
			h.undisturbed()
		})
	}
}

// TestLeave ends a session in each possible way: the server keeps serving.
func TestLeave(t *testing.T) {
	ways := []struct {
		name  string
		leave func(e *editor)
	}{
		{"disconnect", func(e *editor) { e.call("disconnect", nil); e.event("terminated") }},
		{"terminate", func(e *editor) { e.call("terminate", nil); e.event("terminated") }},
		{"cut", func(e *editor) { e.conn.Close() }},
		{"reset", func(e *editor) { _ = e.conn.Conn.(*net.TCPConn).SetLinger(0); e.conn.Close() }},
		{"junk", func(e *editor) {
			_, _ = e.conn.Conn.Write([]byte("Content-Length: none\r\n\r\n"))
			e.event("terminated")
		}},
	}
	for _, stopped := range []bool{true, false} {
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s while stopped %v", way.name, stopped), func(t *testing.T) {
				h := start(t)
				_, line := h.source(0)
				e := h.connect(true)
				e.attach(line)
				if !stopped {
					way.leave(e)
					h.undisturbed()
					return
				}
				greeting := h.get("/debugged")
				e.stoppedAt(line)
				way.leave(e)
				h.served(greeting)
				h.undisturbed()
			})
		}
	}
}

// TestLoopStops tells the editor, and lets go of the process, which must drain.
func TestLoopStops(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	e := h.connect(true)
	e.attach(line)
	greeting := h.get("/debugged")
	e.stoppedAt(line)
	h.stop()
	e.event("terminated")
	if text := e.transcript(); !strings.Contains(text, "the loop is stopping") {
		t.Errorf("the editor was told\n%s\nwant why the session ends", text)
	}
	h.served(greeting)
	h.undisturbed()
}

func TestSecondEditor(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	first := h.connect(true)
	first.attach(line)
	second := h.connect(true)
	m := second.response(second.send("initialize", map[string]string{"clientName": "an\x1b[2Jother\n", "pathFormat": "path"}))
	var message string
	if err := m.Field("message", &message); err != nil {
		t.Fatal(err)
	}
	if m.Success || !strings.Contains(message, "a test (127.0.0.1:") || !strings.Contains(message, "has been debugging since") {
		t.Errorf("initialize of a second editor = %v, %q, want a failure that names the first", m.Success, message)
	}
	if text := h.reports.text(); !strings.Contains(text, "an[2Jother (127.0.0.1:") {
		t.Errorf("the terminal shows\n%q\nwant the second editor's name, without what would move the cursor", text)
	}
	h.hit(first, line)
	first.conn.Close()
	testkit.Eventually(t, "the end of the first session", func() bool { return strings.Contains(h.reports.text(), "detached") })
	third := h.connect(true)
	third.attach(line)
	h.hit(third, line)
}

// TestRestart builds and swaps at the editor's wish, although nothing changed.
func TestRestart(t *testing.T) {
	h := start(t)
	_, line := h.source(0)
	e := h.connect(true)
	e.attach(line)
	before := h.supervisor.Serving()
	e.call("restart", map[string]any{})
	if after := h.supervisor.Serving(); after == before || after == 0 {
		t.Errorf("after restart pid %d serves, before it was %d, want another", after, before)
	}
	h.moved(1)
	h.hit(e, line)
}

// TestLineNumbers: a build that differs in line numbers alone serves once
// someone debugs, and swaps while someone does.
func TestLineNumbers(t *testing.T) {
	h := start(t)
	shift := func(n int) (outcome supervisor.Outcome) {
		t.Helper()
		h.build(n)
		s, err := h.supervisor.Swap(t.Context(), h.command(), true)
		if err != nil {
			t.Fatal(err)
		}
		return s.Outcome
	}
	if got := shift(3); got != supervisor.LineNumbers {
		t.Fatalf("Swap() of a build with other line numbers = %v, want %v", got, supervisor.LineNumbers)
	}
	_, line := h.source(3)
	e := h.connect(true)
	e.attach(line)
	h.hit(e, line)
	_, line = h.source(5)
	e.move(line)
	if got := shift(5); got != supervisor.Swapped {
		t.Fatalf("Swap() while an editor debugs = %v, want %v", got, supervisor.Swapped)
	}
	h.moved(1)
	h.hit(e, line)
}

// TestServerDies keeps the session over the end of the process.
func TestServerDies(t *testing.T) {
	tests := []struct {
		name string
		die  func(h *harness, e *editor, line int)
	}{
		{"panic while the editor looks", func(h *harness, e *editor, _ int) {
			h.get("/panic")
			var stopped struct {
				ThreadID int    `json:"threadId"`
				Reason   string `json:"reason"`
				Text     string `json:"text"`
			}
			if err := e.event("stopped").Field("body", &stopped); err != nil {
				h.t.Fatal(err)
			}
			if stopped.Reason != "exception" || !strings.Contains(stopped.Text, "broken by a request") {
				h.t.Errorf("stopped: %+v, want the panic", stopped)
			}
			e.continues(stopped.ThreadID)
		}},
		{"killed while it runs", func(h *harness, _ *editor, _ int) { kill(h, h.supervisor.Serving()) }},
		{"killed while it is stopped", func(h *harness, e *editor, line int) {
			h.get("/debugged")
			e.stoppedAt(line)
			kill(h, h.supervisor.Serving())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t)
			_, line := h.source(0)
			e := h.connect(true)
			e.attach(line)
			before := h.supervisor.Serving()
			tt.die(h, e, line)
			h.moved(1)
			if after := h.supervisor.Serving(); after == before {
				t.Errorf("pid %d keeps serving, want another", after)
			}
			h.hit(e, line)
			if n := e.count("terminated") + e.count("exited"); n > 0 {
				t.Errorf("%d events announced an end during the session, want 0", n)
			}
		})
	}
}

// TestPanicThenDetach: the process ends as it would have without a debugger,
// and the loop starts it again.
func TestPanicThenDetach(t *testing.T) {
	h := start(t)
	e := h.connect(true)
	e.attach(0)
	h.get("/panic")
	e.event("stopped")
	e.call("disconnect", nil)
	testkit.Eventually(t, "a restart", func() bool { return strings.Contains(h.reports.text(), "restarted") })
	if text := h.reports.text(); !strings.Contains(text, ": exit status 2") {
		t.Errorf("the terminal shows\n%s\nwant the server's exit status 2", text)
	}
	h.undisturbed()
}

func kill(h *harness, pid int) {
	h.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
}

// TestDelveDies has dlv end in the midst of a session, by what an editor asked
// for or by itself: the session goes on.
func TestDelveDies(t *testing.T) {
	tests := []struct {
		name string
		die  func(h *harness, e *editor)
	}{
		{"at a request that it cannot read", func(h *harness, e *editor) {
			if m := e.response(e.send("setBreakpoints", []int{1})); m.Success {
				h.t.Error("setBreakpoints with a list for arguments succeeded")
			}
		}},
		{"killed", func(h *harness, _ *editor) { kill(h, h.delves()[0].PID) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t)
			_, line := h.source(0)
			e := h.connect(true)
			e.attach(line)
			tt.die(h, e)
			h.moved(1)
			h.hit(e, line)
		})
	}
}

// TestMisuse answers a malformed session in plain words, and goes on.
func TestMisuse(t *testing.T) {
	h := start(t)
	e := h.connect(true)
	for _, tt := range []struct{ command, want string }{
		{"threads", "initialize"},
		{"attach", "initialize"},
		{"launch", "attach"},
	} {
		m := e.response(e.send(tt.command, map[string]any{}))
		var message string
		if err := m.Field("message", &message); err != nil || m.Success || !strings.Contains(message, tt.want) {
			t.Errorf("%s at first = %v, %q, want a failure that names %q", tt.command, m.Success, message, tt.want)
		}
	}
	e.attach(0)
	for _, command := range []string{"initialize", "attach", "no such request"} {
		if m := e.response(e.send(command, nil)); m.Success {
			t.Errorf("%s during a session succeeded", command)
		}
	}
	// A session does not end by what it makes no sense of.
	if _, err := e.conn.Send(dap.NewResponse(dap.Message{Seq: 9}, nil)); err != nil {
		t.Fatal(err)
	}
	e.call("threads", nil)
	e.call("disconnect", nil)
	h.undisturbed()

	for _, junk := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00", "Content-Length: 99999999999\r\n\r\n", "Content-Length: 2\r\n\r\n[]"} {
		conn, err := net.Dial("tcp", h.debug)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(junk)); err != nil {
			t.Fatal(err)
		}
		answers := dap.NewConn(conn, nil)
		m, err := answers.Receive()
		text, _ := m.MarshalJSON()
		if err != nil || !strings.Contains(string(text), "not the Debug Adapter Protocol") {
			t.Errorf("%q is answered by %s, %v, want an explanation", junk, text, err)
		}
		conn.Close()
	}
	h.undisturbed()
}

// TestReplayedLines has the breakpoints of an editor that does not send them again
// follow their lines. One whose line is gone is removed, and the terminal says so.
func TestReplayedLines(t *testing.T) {
	h := start(t)
	removed := h.withLine()
	_, line := h.source(0)
	e := h.connect(false)
	e.attach(0)
	type at struct {
		ID   int `json:"id"`
		Line int `json:"line"`
	}
	var set struct {
		Breakpoints []at `json:"breakpoints"`
	}
	if err := e.response(e.breakAt(removed, line)).Field("body", &set); err != nil || len(set.Breakpoints) != 2 {
		t.Fatalf("setBreakpoints(%d, %d) = %+v, %v, want two", removed, line, set, err)
	}
	lost, kept := set.Breakpoints[0].ID, set.Breakpoints[1].ID
	h.withoutLine()
	for i, shift := range []int{3, 1} {
		h.reload(shift)
		h.moved(i + 1)
		_, line = h.source(shift)
		want := []struct {
			reason string
			at
		}{{"removed", at{ID: lost}}, {"changed", at{kept, line}}}
		for _, want := range want[min(i, 1):] { // the first is told once
			var got struct {
				Reason     string `json:"reason"`
				Breakpoint at     `json:"breakpoint"`
			}
			if err := e.event("breakpoint").Field("body", &got); err != nil || got.Reason != want.reason || got.Breakpoint != want.at {
				t.Errorf("with %d lines more the editor is told %+v, %v, want %+v", shift, got, err, want)
			}
		}
		h.hit(e, line)
	}
	if want := fmt.Sprintf("lost %s:%d", h.path(), removed); strings.Count(h.reports.text(), want) != 1 {
		t.Errorf("the terminal does not show %q once", want)
	}
	e.call("disconnect", nil)
	h.undisturbed()
}
