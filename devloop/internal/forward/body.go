package forward

import (
	"errors"
	"io"
	"net"
)

// A readError is an error of the side that a body comes from.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// copyBody writes first, unless it is nil, and then a body of which in has the
// beginning. Nothing is held back: what was read is written before more is read.
// First may grow.
func copyBody(dst, src *net.TCPConn, in *buffer, first *[]byte, length int64) error {
	defer in.shrink()
	if length-int64(in.len()) > smallBuffer {
		in.grow()
	}
	for c := (chunks{}); ; {
		n, done := in.len(), false
		switch {
		case length == chunked:
			var err error
			if n, done, err = c.scan(in.bytes()); err != nil {
				return err
			}
		case length >= 0:
			n = int(min(length, int64(n)))
			length -= int64(n)
			done = length == 0
		}
		p := in.take(n)
		if first != nil {
			if n <= smallBuffer {
				*first = append(*first, p...)
				p = *first
			} else if _, err := dst.Write(*first); err != nil {
				return err
			}
			first = nil
		}
		if len(p) > 0 {
			if _, err := dst.Write(p); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		if err := in.read(src); errors.Is(err, io.EOF) && length == untilClose {
			return nil
		} else if err != nil {
			return readError{err}
		}
	}
}
