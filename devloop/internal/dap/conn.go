package dap

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	maxContent = 64 << 20 // a debugger's answer may hold megabytes of memory
	maxHeader  = 4 << 10
	// patience is how long a peer may leave what is written to it unread.
	patience = 10 * time.Second
)

// A Conn carries messages over a connection. One goroutine may receive while
// another one sends.
type Conn struct {
	net.Conn
	in  *bufio.Reader
	seq int
}

// NewConn returns a Conn. What was read from the connection before is in in,
// which may be nil.
func NewConn(c net.Conn, in *bufio.Reader) *Conn {
	if in == nil {
		in = bufio.NewReader(c)
	}
	return &Conn{Conn: c, in: in}
}

// A FormatError says why what came is not a message.
type FormatError struct{ Err error }

func (e *FormatError) Error() string { return e.Err.Error() }
func (e *FormatError) Unwrap() error { return e.Err }

// Receive returns the next message. The error is io.EOF at the end between two
// messages, a *FormatError if what came is not a message, or the connection's.
func (c *Conn) Receive() (Message, error) { return Read(c.in) }

// Read reads one message from in.
func Read(in *bufio.Reader) (Message, error) {
	length, err := readHeader(in)
	if err != nil {
		return Message{}, err
	}
	content, err := io.ReadAll(io.LimitReader(in, length)) // which grows with what is there
	if err == nil && int64(len(content)) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Message{}, err
	}
	m, err := Parse(content)
	if err != nil {
		return Message{}, &FormatError{err}
	}
	return m, nil
}

// readHeader reads up to the empty line and returns the content's length.
func readHeader(in *bufio.Reader) (int64, error) {
	length, size := int64(-1), 0
	for {
		line, err := readLine(in, maxHeader-size)
		size += len(line)
		switch {
		case err == io.EOF && size > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case line == "\r\n" && length < 0:
			return 0, &FormatError{errors.New("a message must begin with a Content-Length header")}
		case line == "\r\n":
			return length, nil
		}
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r\n"), ":")
		if !ok || !strings.HasSuffix(line, "\r\n") {
			return 0, &FormatError{fmt.Errorf("a header line is %.40q, want 'Content-Length: N' and CRLF", line)}
		}
		if !strings.EqualFold(name, "Content-Length") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 62)
		if err != nil || n > maxContent {
			return 0, &FormatError{fmt.Errorf("Content-Length is %.40q, want a number up to %d", value, maxContent)}
		}
		length = int64(n)
	}
}

// readLine reads a line with its end, of at most limit bytes.
func readLine(in *bufio.Reader, limit int) (string, error) {
	var b strings.Builder
	for b.Len() < limit {
		c, err := in.ReadByte()
		if err != nil {
			if err == io.EOF && b.Len() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		// Fail at once: a peer of another protocol may never end a line.
		if c >= 0x7f || c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			return "", &FormatError{fmt.Errorf("a header has the byte %#x in it", c)}
		}
		b.WriteByte(c)
		if c == '\n' {
			return b.String(), nil
		}
	}
	return "", &FormatError{fmt.Errorf("the header is longer than %d bytes", maxHeader)}
}

// Send sends a message under the next sequence number, which it returns. They
// begin with 1.
func (c *Conn) Send(m Message) (int, error) {
	c.seq++
	m.Seq = c.seq
	return m.Seq, c.send(m)
}

// Forward sends a message under the number that it has.
func (c *Conn) Forward(m Message) error { return c.send(m) }

func (c *Conn) send(m Message) error {
	content, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write %s%s: %w", m.Command, m.Event, err)
	}
	frame := append([]byte("Content-Length: "+strconv.Itoa(len(content))+"\r\n\r\n"), content...)
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = c.Conn.Write(frame)
	return err
}
