package dap

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"testing"
	"time"
)

// A wire keeps what is written to it.
type wire struct {
	net.Conn
	sent bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error)      { return w.sent.Write(p) }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// others returns the fields that only a sender and a receiver understand.
func others(m Message) map[string]any {
	out := make(map[string]any)
	for name, raw := range m.fields {
		switch name {
		case "type", "seq", "command", "request_seq", "success", "event":
			continue
		}
		var value any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			panic(err)
		}
		out[name] = value
	}
	return out
}

// same reports whether two messages say the same.
func same(a, b Message) bool {
	fa, fb := others(a), others(b)
	a.fields, b.fields = nil, nil
	return reflect.DeepEqual(a, b) && reflect.DeepEqual(fa, fb)
}

// FuzzRead reads anything. What is a message is the same after another journey,
// what is none is told as such, and no length is believed.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"",
		"Content-Length: 43\r\n\r\n" + `{"seq":1,"type":"request","command":"next"}`,
		"Content-Length: 81\r\n\r\n" + `{"seq":0,"type":"event","event":"output","body":{"output":"<\u00e9\ud800>"},"x":1e999}`,
		"content-length:56\r\nContent-Type: a\r\n\r\n" + `{"type":"response","request_seq":-1,"success":true,"y":1}`,
		"Content-Length: 2\r\n\r\n{}Content-Length: 4\r\n\r\nnull",
		"Content-Length: 67108864\r\n\r\n{",
		"Content-Length: 99999999999999999999\r\n\r\n{}",
		"Content-Length: -1\r\n\r\n{}",
		"Content-Length: 2\n\n{}",
		"Content-Length 2\r\n\r\n{}",
		"\r\n\r\n",
		"Content-Length: 61\r\n\r\n" + `{"type":"request","Type":"event","command":"a","COMMAND":null}`,
		"GET / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00",
		"X: \u00e9\r\n\r\n",
		string(bytes.Repeat([]byte("X: y\r\n"), 1000)),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			runtime.ReadMemStats(&before)
			m, err := Read(in)
			runtime.ReadMemStats(&after)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > uint64(1<<20+200*len(data)) {
				t.Fatalf("reading %d bytes allocated %d", len(data), spent)
			}
			if _, format := errors.AsType[*FormatError](err); format || err == io.EOF || err == io.ErrUnexpectedEOF {
				return
			}
			if err != nil {
				t.Fatalf("Read(%q) = %T %v, want a message, a format error or the end", data, err, err)
			}
			w := &wire{}
			if err := NewConn(w, nil).Forward(m); err != nil {
				t.Fatalf("Forward(%+v) = %v", m, err)
			}
			again, err := Read(bufio.NewReader(&w.sent))
			if err != nil || !same(again, m) {
				t.Fatalf("sent again, %+v is %+v, %v", m, again, err)
			}
		}
	})
}
