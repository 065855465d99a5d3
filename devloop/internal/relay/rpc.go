package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxRPC bounds one JSON-RPC message.
const maxRPC = 64 << 20

// An rpcMessage is a request or a response of JSON-RPC 1.0 as Delve's API has
// it (Documentation/api in its repository).
type rpcMessage struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method,omitempty"`
	Params []json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage   `json:"result"`
	Error  json.RawMessage   `json:"error"`
}

// MarshalJSON leaves out of a request what only a response has.
func (m rpcMessage) MarshalJSON() ([]byte, error) {
	type response struct {
		ID     json.RawMessage `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	type request struct {
		ID     json.RawMessage   `json:"id"`
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	}
	if m.Method != "" {
		return json.Marshal(request{m.ID, m.Method, m.Params})
	}
	return json.Marshal(response{m.ID, m.Result, m.Error})
}

// failure returns the text of an error response, or "".
func (m rpcMessage) failure() string {
	var text string
	if len(m.Error) == 0 || string(m.Error) == "null" {
		return ""
	}
	if json.Unmarshal(m.Error, &text) != nil {
		return string(m.Error)
	}
	return text
}

func rpcFailure(id json.RawMessage, text string) rpcMessage {
	b, _ := json.Marshal(text)
	return rpcMessage{ID: id, Error: b}
}

// An rpcConn carries messages over a connection.
type rpcConn struct {
	net.Conn
	decoder *json.Decoder
	limit   *io.LimitedReader
}

func newRPCConn(conn net.Conn, in io.Reader) *rpcConn {
	limit := &io.LimitedReader{R: in}
	return &rpcConn{Conn: conn, decoder: json.NewDecoder(limit), limit: limit}
}

// An rpcFormatError says why what came is not a message.
type rpcFormatError struct{ err error }

func (e *rpcFormatError) Error() string { return "this is not JSON-RPC: " + e.err.Error() }
func (e *rpcFormatError) Unwrap() error { return e.err }

// read returns the next message. The error is io.EOF at the end, an
// *rpcFormatError if what came is not a message, or the connection's.
func (c *rpcConn) read() (rpcMessage, error) {
	var m rpcMessage
	c.limit.N = maxRPC
	err := c.decoder.Decode(&m)
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err != nil && c.limit.N == 0:
		err = &rpcFormatError{fmt.Errorf("a message is longer than %d bytes", maxRPC)}
	case syntax || kind:
		err = &rpcFormatError{err}
	}
	return m, err
}

func noMethod() error { return &rpcFormatError{errors.New("a request has no method")} }

func (c *rpcConn) write(m rpcMessage) error {
	const patience = 10 * time.Second
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write %s: %w", m.Method, err)
	}
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = c.Conn.Write(append(b, '\n'))
	return err
}

// pump reads messages into a channel, which it closes at the end.
func (c *rpcConn) pump(done <-chan struct{}) (<-chan rpcMessage, <-chan error) {
	messages, broken := make(chan rpcMessage), make(chan error, 1)
	go func() {
		defer close(messages)
		for {
			m, err := c.read()
			if err != nil {
				broken <- err
				return
			}
			select {
			case messages <- m:
			case <-done:
				return
			}
		}
	}()
	return messages, broken
}

// serveRPC serves one client that speaks Delve's own protocol.
func (r *Relay) serveRPC(ctx context.Context, conn net.Conn, in *bufio.Reader) {
	client := newRPCConn(conn, in)
	h := &holder{client: "Delve's JSON-RPC client " + conn.RemoteAddr().String()}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	// Only a request is a reason to stop the server.
	first, err := client.read()
	if !stop() {
		return
	}
	if err == nil && first.Method == "" {
		err = noMethod()
	}
	if err == nil {
		err = r.claim(ctx, h)
	} else if _, format := errors.AsType[*rpcFormatError](err); !format {
		return // it has gone
	}
	if err != nil {
		r.Reporter.DebuggerFailed(h.client, err)
		_ = client.write(rpcFailure(first.ID, err.Error())) // a client that cannot read it is gone
		return
	}
	defer r.giveUp(h)
	ctx, cancel := context.WithCancel(ctx)
	requests, broken := client.pump(ctx.Done())
	s := &rpcSession{relay: r, holder: h, client: client, ctx: ctx, restarts: make(chan rpcMessage), versions: versions{}}
	_ = r.Refresh(ctx) // the terminal shows why, if it failed
	s.request(first)
	s.run(requests)
	select {
	case err := <-broken:
		if _, format := errors.AsType[*rpcFormatError](err); format {
			s.fail(err)
		}
	default:
	}
	s.close()
	cancel()
	s.tasks.Wait()
}

// An rpcBackend is a dlv that is attached to one process.
type rpcBackend struct {
	debugger Debugger
	conn     *rpcConn
	messages <-chan rpcMessage
	stop     chan struct{}
	pending  map[string]rpcMessage // the client's requests, by the number under which dlv knows them
	sent     int
	pid      int
}

func newRPCBackend(d Debugger, pid int) *rpcBackend {
	b := &rpcBackend{debugger: d, conn: newRPCConn(d, d), stop: make(chan struct{}), pending: make(map[string]rpcMessage), pid: pid}
	b.messages, _ = b.conn.pump(b.stop)
	return b
}

// forward passes a client's request on, as dlv is to read it, and returns the
// number it has there.
func (b *rpcBackend) forward(m, request rpcMessage) string {
	id := b.post(m.Method, m.Params)
	b.pending[id] = request
	return id
}

// post sends a request. A dlv that cannot be written to is about to close its
// side, which the reader notices.
func (b *rpcBackend) post(method string, params []json.RawMessage) string {
	b.sent++
	id := json.RawMessage(fmt.Sprint(b.sent))
	if b.conn.write(rpcMessage{ID: id, Method: method, Params: params}) != nil {
		b.debugger.Close()
	}
	return string(id)
}

// An rpcRefusal is a failure that dlv answers with.
type rpcRefusal struct{ text string }

func (e *rpcRefusal) Error() string { return e.text }

var errDelveEnded = errors.New("dlv ended")

// call sends a request and waits for the answer; others go to answer.
func (b *rpcBackend) call(ctx context.Context, method string, params any, answer func(rpcMessage)) (json.RawMessage, error) {
	p, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	id := b.post(method, []json.RawMessage{p})
	m, err := b.await(ctx, id, answer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.TrimPrefix(method, "RPCServer."), err)
	}
	if text := m.failure(); text != "" {
		return nil, &rpcRefusal{strings.TrimPrefix(method, "RPCServer.") + ": " + text}
	}
	return m.Result, nil
}

// await waits for the answer to a request; others go to answer.
func (b *rpcBackend) await(ctx context.Context, id string, answer func(rpcMessage)) (rpcMessage, error) {
	for {
		select {
		case m, ok := <-b.messages:
			switch {
			case !ok && b.debugger.Said() != "":
				return m, errors.New(b.debugger.Said())
			case !ok:
				return m, errDelveEnded
			case string(m.ID) == id:
				return m, nil
			}
			answer(m)
		case <-ctx.Done():
			return rpcMessage{}, context.Cause(ctx)
		}
	}
}
