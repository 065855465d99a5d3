package forward

import (
	"bytes"
	"errors"
)

// cutLine returns the first line of p without its end, and what follows. A
// carriage return that is not part of the end stays, and is refused later.
func cutLine(p []byte) (line, rest []byte) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return p, nil
	}
	line, rest = p[:i], p[i+1:]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// requestLine reads "METHOD TARGET HTTP/1.x".
func requestLine(l []byte) (method, target []byte, minor byte, ok bool) {
	method, rest, ok := bytes.Cut(l, []byte(" "))
	if !ok || !isToken(method) {
		return nil, nil, 0, false
	}
	target, version, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(version) != 8 || string(version[:7]) != "HTTP/1." || version[7] != '0' && version[7] != '1' {
		return nil, nil, 0, false
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f {
			return nil, nil, 0, false
		}
	}
	return method, target, version[7], true
}

// cutField reads "Name: value".
func cutField(l []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(l, ':')
	if i < 0 || !isToken(l[:i]) {
		return nil, nil, false
	}
	for _, c := range l[i+1:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, false
		}
	}
	return l[:i], trim(l[i+1:]), true
}

func parseLength(value []byte) (int64, error) {
	if len(value) == 0 || len(value) > maxLengthDigits {
		return 0, errUnframed
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, errUnframed
		}
		n = 10*n + int64(c-'0')
	}
	return n, nil
}

// trim removes the white space that may surround a value.
func trim(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

func hasToken(value []byte, token string) bool {
	for t := range bytes.SplitSeq(value, []byte(",")) {
		if is(trim(t), token) {
			return true
		}
	}
	return false
}

func lastToken(value []byte) []byte {
	return trim(value[bytes.LastIndexByte(value, ',')+1:])
}

// is compares a name with one in lower case.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func isToken(p []byte) bool {
	for _, c := range p {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		case bytes.IndexByte([]byte("!#$%&'*+.^_`|~"), c) >= 0:
		default:
			return false
		}
	}
	return len(p) > 0
}

// chunks follows the chunked coding (RFC 9112, 7.1) through the bytes of a body,
// which are passed on as they are. It accepts only what can be read in one way.
type chunks struct {
	state chunkState
	left  int64 // of the chunk's data
	size  int   // digits, or bytes of an extension or of the trailers
	field bool  // the trailer line has a character
}

type chunkState byte

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeEnd // wants LF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerLine
	trailerLF
)

const (
	maxChunkDigits = 15
	maxExtension   = 16 << 10
	maxTrailers    = 1 << 20
)

var errChunks = errors.New("the chunked body is malformed")

// scan returns how many of the bytes belong to the body, and whether it ends there.
func (c *chunks) scan(p []byte) (n int, done bool, err error) {
	for n < len(p) {
		if c.state == chunkData {
			k := min(c.left, int64(len(p)-n))
			n += int(k)
			if c.left -= k; c.left == 0 {
				c.state = chunkDataCR
			}
			continue
		}
		done, err = c.step(p[n])
		if err != nil {
			return n, false, err
		}
		n++
		if done {
			return n, true, nil
		}
	}
	return n, false, nil
}

func (c *chunks) step(b byte) (done bool, err error) {
	switch c.state {
	case chunkSize:
		digit := unhex(b)
		switch {
		case digit >= 0 && c.size < maxChunkDigits:
			c.left, c.size = c.left<<4|int64(digit), c.size+1
			return false, nil
		case c.size == 0:
			return false, errChunks
		case b == '\r':
			c.state = chunkSizeEnd
			return false, nil
		case b == ';' || b == ' ' || b == '\t':
			c.state, c.size = chunkExtension, 0
			return false, nil
		}
	case chunkExtension:
		if b == '\r' {
			c.state = chunkSizeEnd
			return false, nil
		}
		if c.size++; c.size < maxExtension && (b >= ' ' && b != 0x7f || b == '\t') {
			return false, nil
		}
	case chunkSizeEnd:
		if b == '\n' {
			c.size = 0
			if c.state = chunkData; c.left == 0 {
				c.state = trailerLine
			}
			return false, nil
		}
	case chunkDataCR:
		if b == '\r' {
			c.state = chunkDataLF
			return false, nil
		}
	case chunkDataLF:
		if b == '\n' {
			c.state, c.size = chunkSize, 0
			return false, nil
		}
	case trailerLine:
		if b == '\r' {
			c.state = trailerLF
			return false, nil
		}
		if c.size++; c.size < maxTrailers && (b >= ' ' && b != 0x7f || b == '\t') {
			c.field = true
			return false, nil
		}
	case trailerLF:
		if b == '\n' {
			done, c.field = !c.field, false
			c.state = trailerLine
			return done, nil
		}
	}
	return false, errChunks
}

func unhex(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}
