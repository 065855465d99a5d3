package forward

import (
	"errors"
	"io"
	"net"
)

// spliceFrom is from how many bytes on a body goes from socket to socket within
// the kernel.
const spliceFrom = 64 << 10

// A readError is an error of the side that a body comes from.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// copyBody writes first, which may be empty, and then a body of which in has
// the beginning. Nothing is held back: what was read is written before more is
// read.
func copyBody(dst, src *net.TCPConn, in *buffer, first []byte, length int64) error {
	var c chunks
	var done bool
	for wide := false; ; {
		n := in.len()
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
		if len(first) > 0 {
			if n <= smallBuffer {
				p = append(first, p...)
			} else if _, err := dst.Write(first); err != nil {
				return err
			}
			first = nil
		}
		if len(p) > 0 {
			if _, err := dst.Write(p); err != nil {
				return err
			}
		}
		switch {
		case done:
			if wide {
				in.resize(smallBuffer)
			}
			return nil
		case length == untilClose:
			_, err := io.Copy(dst, src)
			return err
		case length >= spliceFrom:
			m, err := io.CopyN(dst, src, length)
			if err == nil {
				return nil
			}
			if errors.Is(err, io.EOF) || m < length {
				return readError{err}
			}
			return err
		}
		before := len(in.space)
		m, err := in.fill(src)
		if err != nil {
			return readError{err}
		}
		// Whoever sends much gets more room, until less comes.
		switch full := m > 0 && in.w == len(in.space); {
		case full && before <= smallBuffer:
			in.resize(largeBuffer)
			wide = true
		case wide && m < smallBuffer && in.len() <= smallBuffer:
			in.resize(smallBuffer)
			wide = false
		}
	}
}
