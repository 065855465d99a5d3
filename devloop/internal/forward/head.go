package forward

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	// errOdd is about a request that is left to net/http: it may be HTTP/2, and
	// must not be forwarded if it can be read in two ways.
	errOdd = errors.New("not a plain HTTP/1 request")

	errUnframed = errors.New("its head does not say clearly where its body ends")
)

// Lengths of bodies that are no number of bytes.
const (
	chunked    = -1
	untilClose = -2
)

// maxLengthDigits keeps a Content-Length within an int64.
const maxLengthDigits = 18

// fields is what a head's fields say about the message and this connection, as
// opposed to what they say to the other end.
type fields struct {
	length    int64 // of the body: a number of bytes, chunked, or 0 if nothing says so
	hasLength bool
	chunked   bool // chunked is the last transfer coding
	codings   int  // Transfer-Encoding fields
	hosts     int

	close, keepAlive, upgrade, te bool     // options of Connection
	named                         [][]byte // other options: fields for this connection only

	hasUpgrade, trailers bool
}

// read takes notice of a field.
func (f *fields) read(name, value []byte) error {
	switch len(name) {
	case len("TE"):
		if is(name, "te") {
			f.trailers = f.trailers || hasToken(value, "trailers")
		}
	case len("Host"):
		if is(name, "host") {
			f.hosts++
		}
	case len("Upgrade"):
		f.hasUpgrade = f.hasUpgrade || is(name, "upgrade")
	case len("Connection"):
		if is(name, "connection") {
			f.options(value)
		}
	case len("Content-Length"):
		if is(name, "content-length") {
			n, err := parseLength(value)
			if err != nil || f.hasLength && n != f.length {
				return errUnframed
			}
			f.length, f.hasLength = n, true
		}
	case len("Transfer-Encoding"):
		if is(name, "transfer-encoding") {
			f.codings++
			f.chunked = is(lastToken(value), "chunked")
		}
	}
	return nil
}

// options reads a Connection field.
func (f *fields) options(value []byte) {
	for option := range bytes.SplitSeq(value, []byte(",")) {
		switch option = trim(option); {
		case is(option, "close"):
			f.close = true
		case is(option, "keep-alive"):
			f.keepAlive = true
		case is(option, "upgrade"):
			f.upgrade = true
		case is(option, "te"):
			f.te = true
		case len(option) > 0:
			f.named = append(f.named, option)
		}
	}
}

// hop reports whether a field is for this connection only.
func (f *fields) hop(name []byte) bool {
	switch len(name) {
	case len("TE"):
		return is(name, "te")
	case len("Upgrade"):
		if is(name, "upgrade") {
			return !f.upgrade
		}
	case len("Connection"): // and Keep-Alive
		if is(name, "connection") || is(name, "keep-alive") {
			return true
		}
	case len("Proxy-Connection"):
		if is(name, "proxy-connection") {
			return true
		}
	}
	for _, n := range f.named {
		// Without these, the other end would read another message.
		if bytes.EqualFold(n, name) && !is(name, "host") && !is(name, "content-length") && !is(name, "transfer-encoding") {
			return true
		}
	}
	return false
}

// A request is the head of one, read and rewritten for the backend.
type request struct {
	out    []byte // the head to send
	length int64  // of the body, or chunked
	minor  byte   // of its HTTP version: '0' or '1'

	head, connect bool // the methods that change how a response ends
	idempotent    bool // may be sent again
	upgrade       bool
	keep          bool // the client wants to go on after it
}

// parseRequest reads a head strictly: whatever it accepts, every server reads
// in the same way. The rewritten head is appended to out.
func parseRequest(head, out []byte) (request, error) {
	line, rest := cutLine(head)
	method, target, minor, ok := requestLine(line)
	if !ok {
		return request{}, errOdd
	}
	var f fields
	for p := rest; ; {
		var l []byte
		if l, p = cutLine(p); len(l) == 0 {
			break
		}
		name, value, ok := cutField(l)
		if !ok || f.read(name, value) != nil {
			return request{}, errOdd
		}
	}
	r := request{minor: minor, upgrade: f.upgrade && f.hasUpgrade && minor == '1'}
	f.upgrade = r.upgrade
	switch {
	case f.hosts > 1 || f.hosts == 0 && minor == '1' || len(target) == 0:
		return request{}, errOdd
	case f.codings > 0:
		if f.codings > 1 || f.hasLength || !f.chunked || minor == '0' || !onlyChunked(rest) {
			return request{}, errOdd
		}
		r.length = chunked
	default:
		r.length = f.length
	}
	r.head, r.connect = string(method) == "HEAD", string(method) == "CONNECT"
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		r.idempotent = true
	}
	r.keep = !f.close && (minor == '1' || f.keepAlive)

	out = append(append(out, line...), "\r\n"...)
	out = appendFields(out, rest, &f)
	if f.trailers {
		out = append(out, "TE: trailers\r\n"...)
	}
	r.out = append(appendConnection(out, f.close, minor == '0' && f.keepAlive, r.upgrade, f.trailers), "\r\n"...)
	return r, nil
}

// onlyChunked reports whether the one Transfer-Encoding is exactly "chunked".
func onlyChunked(p []byte) bool {
	for {
		var l []byte
		if l, p = cutLine(p); len(l) == 0 {
			return false
		}
		if name, value, _ := cutField(l); is(name, "transfer-encoding") {
			return is(value, "chunked")
		}
	}
}

// A response is the head of one, read and not yet rewritten.
type response struct {
	fields
	line, rest []byte // the first line, and the others
	status     int
	minor      byte
	length     int64 // of the body, chunked or untilClose
}

// parseResponse reads the head of the answer to a request.
func parseResponse(head []byte, to *request) (response, error) {
	var r response
	r.line, r.rest = cutLine(head)
	l := r.line
	if len(l) < len("HTTP/1.1 200") || string(l[:7]) != "HTTP/1." || l[7] != '0' && l[7] != '1' || l[8] != ' ' ||
		len(l) > 12 && l[12] != ' ' {
		return r, fmt.Errorf("it begins with %.40q, which is not HTTP/1", l)
	}
	r.minor = l[7]
	for _, c := range l[9:12] {
		if c < '0' || c > '9' {
			return r, fmt.Errorf("its status is %q", l[9:12])
		}
		r.status = 10*r.status + int(c-'0')
	}
	for p := r.rest; ; {
		var l []byte
		if l, p = cutLine(p); len(l) == 0 {
			break
		}
		name, value, ok := cutField(l)
		if !ok {
			return r, fmt.Errorf("its head has the line %.40q", l)
		}
		if err := r.read(name, value); err != nil {
			return r, err
		}
	}
	switch {
	case r.status < 200 || r.status == 204 || r.status == 304 || to.head || to.connect && r.status < 300:
		r.length = 0
	case r.codings > 0:
		if r.length = untilClose; r.chunked {
			r.length = chunked
		}
	case r.hasLength:
		r.length = r.fields.length
	default:
		r.length = untilClose
	}
	return r, nil
}

// reusable reports whether the backend keeps the connection after this response.
func (r *response) reusable() bool {
	return r.length != untilClose && !r.close && (r.minor == '1' || r.keepAlive)
}

// appendTo appends the head as the client gets it.
func (r *response) appendTo(out []byte, closing, keepAlive bool) []byte {
	out = append(append(out, r.line...), "\r\n"...)
	out = appendFields(out, r.rest, &r.fields)
	return append(appendConnection(out, closing, keepAlive, r.upgrade && r.hasUpgrade, false), "\r\n"...)
}

// appendFields appends those fields that are not for one connection only.
func appendFields(out, p []byte, f *fields) []byte {
	for {
		var l []byte
		if l, p = cutLine(p); len(l) == 0 {
			return out
		}
		name := l[:bytes.IndexByte(l, ':')]
		// A length beside a coding is ignored by those who know the coding.
		if !f.hop(name) && !(f.codings > 0 && is(name, "content-length")) {
			out = append(append(out, l...), "\r\n"...)
		}
	}
}

func appendConnection(out []byte, closing, keepAlive, upgrade, te bool) []byte {
	if !closing && !keepAlive && !upgrade && !te {
		return out
	}
	out = append(out, "Connection: "...)
	for _, option := range []struct {
		on   bool
		name string
	}{{closing, "close"}, {keepAlive && !closing, "keep-alive"}, {upgrade, "Upgrade"}, {te, "TE"}} {
		if option.on {
			out = append(append(out, option.name...), ", "...)
		}
	}
	return append(out[:len(out)-2], "\r\n"...)
}
