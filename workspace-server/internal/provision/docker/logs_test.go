package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// frame is one as the engine sends it.
func frame(kind byte, text string) string {
	header := binary.BigEndian.AppendUint32([]byte{kind, 0, 0, 0}, uint32(len(text)))
	return string(header) + text
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("0123456789", 5000)
	tests := []struct {
		name, stream, want string
		err                string // none: the end was reached
	}{
		{"nothing", "", "", ""},
		{"both outputs", frame(1, "one\n") + frame(2, "two\n") + frame(1, "three\n"), "one\ntwo\nthree\n", ""},
		{"empty frames", frame(1, "") + frame(1, "a") + frame(2, ""), "a", ""},
		{"long frame", frame(1, long), long, ""},
		{"half a header", frame(1, "a") + "\x01\x00\x00", "a", "unexpected EOF"},
		{"half a frame", frame(1, "a") + frame(1, "bcd")[:9], "ab", "unexpected EOF"},
		{"no frame", "plain text of a terminal", "", "is not the beginning of a frame"},
		{"too large", frame(1, "a") + "\x01\x00\x00\x00\xff\xff\xff\xff", "a", "is not the beginning of a frame"},
		{"broken off", frame(1, "a") + frame(3, "secret of the engine"), "a", "the engine broke off"},
	}
	for _, tt := range tests {
		for how, read := range map[string]func(io.Reader) io.Reader{
			"at once":      func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"end at once":  iotest.DataErrReader,
		} {
			got, err := io.ReadAll(&frames{stream: io.NopCloser(read(strings.NewReader(tt.stream)))})
			if string(got) != tt.want {
				t.Errorf("%s, %s: read %.40q, want %.40q", tt.name, how, got, tt.want)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("%s, %s: error %v, want %q", tt.name, how, err, tt.err)
			}
		}
	}
}

func TestFramesKeepTheirError(t *testing.T) {
	broken := errors.New("broken")
	f := &frames{stream: io.NopCloser(io.MultiReader(strings.NewReader(frame(1, "a")), iotest.ErrReader(broken)))}
	if got, err := io.ReadAll(f); string(got) != "a" || !errors.Is(err, broken) {
		t.Errorf("read %q and %v, want \"a\" and %v", got, err, broken)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, broken) {
		t.Errorf("then read %d and %v, want 0 and %v", n, err, broken)
	}
}

// No more comes out than went in, and reading ends, for any stream.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(1, "one") + frame(2, "two")))
	f.Add([]byte(frame(1, "one")[:9]))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := io.ReadAll(&frames{stream: io.NopCloser(bytes.NewReader(stream))})
		if len(got) > len(stream) {
			t.Errorf("%d bytes made of %d", len(got), len(stream))
		}
		if err == nil && len(stream) > 0 && len(got) > len(stream)-8 {
			t.Errorf("%d bytes of %d, without an error", len(got), len(stream))
		}
	})
}
