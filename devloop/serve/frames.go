package serve

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// frames writes what net/http sends on an HTTP/2 connection without TLS, and can say
// GOAWAY between two frames. Net/http's own GOAWAY names the last request that it has
// seen, so one that crosses it is lost, unless the client can send it twice. RFC 9113,
// section 6.8, has the server first name the last possible one.
type frames struct {
	mu     sync.Mutex
	to     net.Conn
	header [9]byte // of the frame that is being written, as far as it was
	got    int     // bytes of the header
	rest   int     // bytes of the payload that are to come
	begun  bool    // something was written; it begins with SETTINGS (RFC 9113, section 3.4)
	wanted bool    // a GOAWAY is to be said at the next boundary
	said   bool
}

// goAwayFrame has no error and the last possible stream (RFC 9113, section 6.8).
const goAwayFrame = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00"

func (f *frames) write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.to.Write(p)
	f.begun = f.begun || n > 0
	f.pass(p[:n])
	if err == nil && f.wanted {
		err = f.say()
	}
	return n, err
}

// pass follows the frames in p.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.got == len(f.header) {
			n := min(f.rest, len(p))
			f.rest -= n
			p = p[n:]
		} else {
			n := copy(f.header[f.got:], p)
			f.got += n
			p = p[n:]
			f.rest = int(binary.BigEndian.Uint32(f.header[:4]) >> 8)
		}
		if f.got == len(f.header) && f.rest == 0 {
			f.got = 0
		}
	}
}

// goAway says GOAWAY once, as soon as that is possible.
func (f *frames) goAway() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = true
	_ = f.say() // net/http notices
}

// say says what is wanted if no frame is being written.
func (f *frames) say() error {
	if f.said || !f.begun || f.got > 0 || f.rest > 0 {
		return nil
	}
	f.said = true
	_, err := io.WriteString(f.to, goAwayFrame)
	return err
}
