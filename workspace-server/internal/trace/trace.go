// Package trace passes on the trace of a request, as W3C Trace Context defines it. It
// records nothing: it lets programs before and behind the server, and the log, name
// the trace.
package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

// The headers.
const (
	Parent = "Traceparent"
	State  = "Tracestate"
)

const (
	traceDigits = 32
	spanDigits  = 16
	length      = len("00-") + traceDigits + len("-") + spanDigits + len("-00")

	// The known flags, which are passed on.
	sampled = 1
	random  = 2

	maxState   = 512 // bytes to pass on
	maxMembers = 32
)

// Trace is the trace of a request.
type Trace struct {
	ID    string // of the whole trace, in hexadecimal digits
	flags byte
	state string // the tracing systems' own texts
}

// New returns a new trace.
func New() Trace { return Trace{ID: digits(traceDigits), flags: random} }

// digits returns n random hexadecimal digits, which are never all zero.
func digits(n int) string {
	b := make([]byte, n/2)
	for {
		_, _ = rand.Read(b) // never fails (crypto/rand)
		if text := hex.EncodeToString(b); strings.Trim(text, "0") != "" {
			return text
		}
	}
}

// Parse returns the trace in the header of a request, and false if it has none or a
// wrong one.
func Parse(h http.Header) (Trace, bool) {
	parents := h.Values(Parent)
	if len(parents) != 1 {
		return Trace{}, false
	}
	t, ok := parseParent(parents[0])
	if ok {
		t.state = parseState(h.Values(State))
	}
	return t, ok
}

// parseParent reads version-trace-span-flags. A later version may have more after
// that.
func parseParent(text string) (Trace, bool) {
	if len(text) < length {
		return Trace{}, false
	}
	parts := strings.SplitN(text[:length], "-", 4)
	if len(parts) != 4 {
		return Trace{}, false
	}
	version, id, span, flags := parts[0], parts[1], parts[2], parts[3]
	if !isHex(version, 2) || !isHex(id, traceDigits) || !isHex(span, spanDigits) || !isHex(flags, 2) {
		return Trace{}, false
	}
	rest := text[length:]
	switch {
	case version == "ff",
		version == "00" && rest != "",
		rest != "" && rest[0] != '-',
		strings.Trim(id, "0") == "",
		strings.Trim(span, "0") == "":
		return Trace{}, false
	}
	given, err := hex.DecodeString(flags)
	if err != nil {
		return Trace{}, false
	}
	return Trace{ID: id, flags: given[0] & (sampled | random)}, true
}

func isHex(text string, n int) bool {
	return len(text) == n && strings.Trim(text, "0123456789abcdef") == ""
}

// parseState returns the members of a state, joined from several headers, as many of
// the first as fit. It is empty if one is not printable ASCII.
func parseState(values []string) string {
	var kept []string
	size := 0
	for member := range strings.SplitSeq(strings.Join(values, ","), ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		if strings.ContainsFunc(member, func(c rune) bool { return c < ' ' || c > '~' }) {
			return ""
		}
		if size += len(member) + len(","); size-len(",") > maxState || len(kept) == maxMembers {
			break
		}
		kept = append(kept, member)
	}
	return strings.Join(kept, ",")
}

// SetHeader puts the trace into the header of a request that the server sends, with a
// span of its own.
func (t Trace) SetHeader(h http.Header) {
	h.Set(Parent, "00-"+t.ID+"-"+digits(spanDigits)+"-"+hex.EncodeToString([]byte{t.flags}))
	if t.state == "" {
		h.Del(State)
		return
	}
	h.Set(State, t.state)
}

type key struct{}

// NewContext returns a context that carries a trace.
func NewContext(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, key{}, t)
}

// FromContext returns the trace that a context carries, or a new one.
func FromContext(ctx context.Context) Trace {
	if t, ok := ctx.Value(key{}).(Trace); ok {
		return t
	}
	return New()
}
