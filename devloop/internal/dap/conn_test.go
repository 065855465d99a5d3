package dap

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// frame puts content in a frame.
func frame(content string) string {
	return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(content), content)
}

func TestRead(t *testing.T) {
	const next = `{"seq":5,"type":"request","command":"next"}`
	good := Message{Type: Request, Seq: 5, Command: "next"}
	tests := []struct {
		input string
		want  Message
		err   string // of a *FormatError
		other error  // any other
	}{
		{frame(next), good, "", nil},
		{frame(next) + "more", good, "", nil},
		{"content-length:43\r\n\r\n" + next, good, "", nil},
		{"Content-Type: x\r\nContent-Length: 43\r\nX:\r\n\r\n" + next, good, "", nil},
		{"Content-Length: 1\r\nContent-Length: 43\r\n\r\n" + next, good, "", nil},
		{frame(`{"type":"event","event":"x","seq":-1,"body":null}`), Message{Type: Event, Seq: -1, Event: "x"}, "", nil},
		{
			frame(`{"type":"response","command":"next","request_seq":5,"success":true}`),
			Message{Type: Response, Command: "next", RequestSeq: 5, Success: true},
			"", nil,
		},
		{frame(`{"type":"response"}`), Message{Type: Response}, "", nil},
		{frame(`{"type":"request","command":"a","Command":"b","TYPE":"event"}`), Message{Type: Request, Command: "a"}, "", nil},

		{"", Message{}, "", io.EOF},
		{"Content-Le", Message{}, "", io.ErrUnexpectedEOF},
		{"Content-Length: 43\r\n", Message{}, "", io.ErrUnexpectedEOF},
		{"Content-Length: 43\r\n\r\n", Message{}, "", io.ErrUnexpectedEOF},
		{"Content-Length: 43\r\n\r\n" + next[1:], Message{}, "", io.ErrUnexpectedEOF},
		{"Content-Length: 67108864\r\n\r\n" + next, Message{}, "", io.ErrUnexpectedEOF},

		{"\r\n", Message{}, "a message must begin with a Content-Length header", nil},
		{"X: y\r\n\r\n", Message{}, "a message must begin with a Content-Length header", nil},
		{"Content-Length: 67108865\r\n\r\n", Message{}, `Content-Length is " 67108865", want a number up to 67108864`, nil},
		{"Content-Length: 99999999999999999999\r\n\r\n", Message{}, "want a number up to 67108864", nil},
		{"Content-Length: -1\r\n\r\n", Message{}, "want a number up to 67108864", nil},
		{"Content-Length: +1\r\n\r\n", Message{}, "want a number up to 67108864", nil},
		{"Content-Length: 0x10\r\n\r\n", Message{}, "want a number up to 67108864", nil},
		{"Content-Length:\r\n\r\n", Message{}, "want a number up to 67108864", nil},
		{"Content-Length 43\r\n\r\n", Message{}, `a header line is "Content-Length 43\r\n", want 'Content-Length: N' and CRLF`, nil},
		{"Content-Length: 43\n\n" + next, Message{}, "and CRLF", nil},
		{"Content-Lëngth: 43\r\n\r\n", Message{}, "a header has the byte 0xc3 in it", nil},
		{"\x16\x03\x01", Message{}, "a header has the byte 0x16 in it", nil},
		{strings.Repeat("X", maxHeader+1), Message{}, "the header is longer than 4096 bytes", nil},
		{strings.Repeat("X: y\r\n", maxHeader), Message{}, "the header is longer than 4096 bytes", nil},
		{"Content-Length: 0\r\n\r\n", Message{}, "the message is not a JSON object", nil},
		{frame("[]"), Message{}, "the message is not a JSON object", nil},
		{frame(next + next), Message{}, "the message is not a JSON object", nil},
		{frame("null"), Message{}, `the message's type is "", want request, response or event`, nil},
		{frame("{}"), Message{}, `the message's type is "", want request, response or event`, nil},
		{frame(`{"type":"other"}`), Message{}, `the message's type is "other"`, nil},
		{frame(`{"Type":"request","command":"next"}`), Message{}, `the message's type is ""`, nil},
		{frame(`{"type":1}`), Message{}, "read type", nil},
		{frame(`{"type":"request","command":"next","seq":1.5}`), Message{}, "read seq of next", nil},
		{frame(`{"type":"request","command":"next","seq":"1"}`), Message{}, "read seq of next", nil},
		{frame(`{"type":"request"}`), Message{}, "the request has no command", nil},
		{frame(`{"type":"request","command":""}`), Message{}, "the request has no command", nil},
		{frame(`{"type":"event","command":"x"}`), Message{}, "the event has no name", nil},
	}
	for _, tt := range tests {
		got, err := Read(bufio.NewReader(strings.NewReader(tt.input)))
		got.fields = nil
		format, isFormat := errors.AsType[*FormatError](err)
		switch {
		case tt.err != "":
			if !isFormat || !strings.Contains(format.Error(), tt.err) {
				t.Errorf("Read(%.60q) = %+v, %T %v, want a format error: %s", tt.input, got, err, err, tt.err)
			}
		case err != tt.other || err == nil && fmt.Sprint(got) != fmt.Sprint(tt.want):
			t.Errorf("Read(%.60q) = %+v, %v, want %+v, %v", tt.input, got, err, tt.want, tt.other)
		}
	}
}

// TestRoundTrip sends what was read again: nothing of it is lost.
func TestRoundTrip(t *testing.T) {
	const contents = `{"seq":7,"type":"request","command":"x","arguments":{"deep":[1,2.50,1e400,"<é>"]},"__vendor":{"a":null}}`
	in := bufio.NewReader(strings.NewReader(frame(contents) + frame(`{"type":"event","event":"y"}`)))
	w := &wire{}
	c := NewConn(w, in)
	m, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Forward(m.With("added", true)); err != nil {
		t.Fatal(err)
	}
	sent, err := Read(bufio.NewReader(&w.sent))
	if err != nil {
		t.Fatal(err)
	}
	if want := m.With("added", true); !same(sent, want) {
		t.Errorf("read again = %+v, want %+v", sent, want)
	}
	if m.Raw("added") != nil {
		t.Error("With changes the message that it is called on")
	}
	if got := string(sent.Raw("__vendor")); got != `{"a":null}` {
		t.Errorf("an unknown field = %s, want it as it was", got)
	}
	if _, err := c.Receive(); err != nil {
		t.Errorf("the second message: %v", err)
	}
	if _, err := c.Receive(); err != io.EOF {
		t.Errorf("after the last message: %v, want %v", err, io.EOF)
	}
}

// TestSend checks that each message gets a number of its connection.
func TestSend(t *testing.T) {
	w := &wire{}
	c := NewConn(w, nil)
	request := Message{Type: Request, Seq: 41, Command: "next"}
	tests := []struct {
		message Message
		want    string
	}{
		{NewRequest("next", nil), `{"command":"next","seq":1,"type":"request"}`},
		{NewRequest("next", map[string]int{"threadId": 1}), `{"arguments":{"threadId":1},"command":"next","seq":2,"type":"request"}`},
		{NewEvent("stopped", nil), `{"event":"stopped","seq":3,"type":"event"}`},
		{NewResponse(request, true), `{"body":true,"command":"next","request_seq":41,"seq":4,"success":true,"type":"response"}`},
		{NewFailure(request, "no"), `{"body":{"error":{"id":1,"format":"no","showUser":true}},"command":"next","message":"no","request_seq":41,"seq":5,"success":false,"type":"response"}`},
		{NewOutput("console", "x"), `{"body":{"category":"console","output":"x\n"},"event":"output","seq":6,"type":"event"}`},
		{Message{Type: Event, Seq: 99, Event: "x"}, `{"event":"x","seq":7,"type":"event"}`},
	}
	for i, tt := range tests {
		w.sent.Reset()
		seq, err := c.Send(tt.message)
		if got := w.sent.String(); err != nil || seq != i+1 || got != frame(tt.want) {
			t.Errorf("Send(%+v) = %d, %v, sends %q, want %d, %q", tt.message, seq, err, got, i+1, frame(tt.want))
		}
	}
}

func TestField(t *testing.T) {
	m, err := Parse([]byte(`{"type":"event","event":"x","body":{"n":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	body := struct{ N int }{}
	if err := m.Field("body", &body); err != nil || body.N != 1 {
		t.Errorf("Field(body) = %+v, %v, want 1", body, err)
	}
	if err := m.Field("missing", &body); err != nil || body.N != 1 {
		t.Errorf("Field(missing) = %+v, %v, want no change", body, err)
	}
	var list []json.RawMessage
	if err := m.Field("body", &list); err == nil || !strings.HasPrefix(err.Error(), "read body of x: ") {
		t.Errorf("Field(body) as a list = %v, want an error that names it", err)
	}
}
