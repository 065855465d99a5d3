package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"devloop/internal/dap"
)

// A PassThrough hands on what clients and a debugger say to each other,
// unchanged, so a person can look at it. Set the exported fields, then call Serve.
type PassThrough struct {
	Network, Address string // of the debugger
	// Log, if it is set, gets each connection by its number, and what is said
	// there: "-> …" by the client, "<- …" by the debugger.
	Log func(connection int64, line string)
	// Failed gets the reason why a connection broke that no side closed.
	Failed func(connection int64, err error)

	connections atomic.Int64
}

// Serve answers connections until ctx is done and all of them have ended.
func (p *PassThrough) Serve(ctx context.Context, l net.Listener) {
	accept(ctx, l, func(conn net.Conn) {
		n := p.connections.Add(1)
		p.log(n, "connected: "+conn.RemoteAddr().String())
		defer p.log(n, "closed")
		if err := p.serve(ctx, n, conn); err != nil && ctx.Err() == nil {
			p.Failed(n, err)
		}
	})
}

func (p *PassThrough) log(n int64, line string) {
	if p.Log != nil {
		p.Log(n, line)
	}
}

// serve hands on what comes from either side until one of them is closed.
func (p *PassThrough) serve(ctx context.Context, n int64, client net.Conn) error {
	defer context.AfterFunc(ctx, func() { client.Close() })()
	in := bufio.NewReader(client)
	first, err := in.Peek(1)
	if err != nil {
		return passed(err)
	}
	var dialer net.Dialer
	debugger, err := dialer.DialContext(ctx, p.Network, p.Address)
	if err != nil {
		return fmt.Errorf("connect to the debugger: %w", err)
	}
	defer context.AfterFunc(ctx, func() { debugger.Close() })()
	there := func() error { return p.copy(n, "->", debugger, in) }
	back := func() error { return p.copy(n, "<-", client, debugger) }
	if first[0] != '{' {
		c, d := dap.NewConn(client, in), dap.NewConn(debugger, nil)
		there = func() error { return p.pass(n, "->", d, c) }
		back = func() error { return p.pass(n, "<-", c, d) }
	}
	ends := make(chan error, 1)
	go func() {
		ends <- there()
		debugger.Close() // which ends the other direction
	}()
	err = back()
	debugger.Close()
	client.Close()
	return errors.Join(passed(err), passed(<-ends))
}

// passed is nil for what happens when a side is closed.
func passed(err error) error {
	for _, normal := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, normal) {
			return nil
		}
	}
	return err
}

// pass hands on messages of the Debug Adapter Protocol.
func (p *PassThrough) pass(n int64, direction string, to, from *dap.Conn) error {
	for {
		m, err := from.Receive()
		if err != nil {
			return err
		}
		if p.Log != nil {
			text, err := m.MarshalJSON()
			if err != nil {
				return err
			}
			p.Log(n, direction+" "+string(text))
		}
		if err := to.Forward(m); err != nil {
			return err
		}
	}
}

// copy hands on bytes, of Delve's own protocol.
func (p *PassThrough) copy(n int64, direction string, to io.Writer, from io.Reader) error {
	buffer := make([]byte, 32<<10)
	for {
		size, err := from.Read(buffer)
		if size > 0 {
			p.log(n, direction+" "+string(buffer[:size]))
			if _, err := to.Write(buffer[:size]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
