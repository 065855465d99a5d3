// Package dap reads and writes messages of the Debug Adapter Protocol. It knows
// how a message is framed and addressed; what a message says is passed on as it
// is, so requests that only an editor and a debugger know get through.
//
// Source: https://microsoft.github.io/debug-adapter-protocol/specification
package dap

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// Types of messages.
const (
	Request  = "request"
	Response = "response"
	Event    = "event"
)

// A Message is one message of the protocol.
type Message struct {
	Type       string
	Seq        int    // given by the sender
	Command    string // of a request, and of the response to it
	RequestSeq int    // Seq of the request that a response is for
	Success    bool   // of a response
	Event      string // of an event

	fields map[string]json.RawMessage // all that the message has, these too
}

// Parse reads a message's content.
func Parse(content []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(content, &m.fields); err != nil {
		return Message{}, fmt.Errorf("the message is not a JSON object: %w", err)
	}
	// Field matches names exactly; struct tags ignore case.
	err := errors.Join(
		m.Field("type", &m.Type), m.Field("command", &m.Command), m.Field("event", &m.Event),
		m.Field("seq", &m.Seq), m.Field("request_seq", &m.RequestSeq), m.Field("success", &m.Success),
	)
	if err != nil {
		return Message{}, err
	}
	switch {
	case m.Type == Request && m.Command != "", m.Type == Response, m.Type == Event && m.Event != "":
		return m, nil
	case m.Type == Request:
		return Message{}, errors.New("the request has no command")
	case m.Type == Event:
		return Message{}, errors.New("the event has no name")
	default:
		return Message{}, fmt.Errorf("the message's type is %q, want request, response or event", m.Type)
	}
}

// NewRequest returns a request; arguments may be nil.
func NewRequest(command string, arguments any) Message {
	m := Message{Type: Request, Command: command}
	if arguments != nil {
		m = m.With("arguments", arguments)
	}
	return m
}

// NewEvent returns an event; body may be nil.
func NewEvent(name string, body any) Message {
	m := Message{Type: Event, Event: name}
	if body != nil {
		m = m.With("body", body)
	}
	return m
}

// NewResponse returns a successful response to a request; body may be nil.
func NewResponse(to Message, body any) Message {
	m := Message{Type: Response, Command: to.Command, RequestSeq: to.Seq, Success: true}
	if body != nil {
		m = m.With("body", body)
	}
	return m
}

// NewFailure returns a response that tells the user why a request failed.
func NewFailure(to Message, text string) Message {
	type detail struct {
		ID       int    `json:"id"`
		Format   string `json:"format"`
		ShowUser bool   `json:"showUser"`
	}
	m := NewResponse(to, map[string]detail{"error": {1, text, true}})
	m.Success = false
	return m.With("message", text)
}

// NewOutput returns an event that prints a line in the editor's debug console.
func NewOutput(category, line string) Message {
	return NewEvent("output", map[string]string{"category": category, "output": line + "\n"})
}

// With returns the message with one more field.
func (m Message) With(name string, value any) Message {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // only of types that this program declares
	}
	m.fields = maps.Clone(m.fields)
	if m.fields == nil {
		m.fields = make(map[string]json.RawMessage)
	}
	m.fields[name] = b
	return m
}

// Field reads one field into value. A field that is missing changes nothing.
func (m Message) Field(name string, value any) error {
	b, ok := m.fields[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(b, value); err != nil {
		return fmt.Errorf("read %s of %s%s: %w", name, m.Command, m.Event, err)
	}
	return nil
}

// Raw returns one field as it is, or nil.
func (m Message) Raw(name string) json.RawMessage { return m.fields[name] }

// MarshalJSON writes all fields.
func (m Message) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(m.fields)+4)
	for name, value := range m.fields {
		out[name] = value
	}
	out["type"], out["seq"] = m.Type, m.Seq
	switch m.Type {
	case Request:
		out["command"] = m.Command
	case Response:
		out["command"], out["request_seq"], out["success"] = m.Command, m.RequestSeq, m.Success
	case Event:
		out["event"] = m.Event
	}
	return json.Marshal(out)
}
