package docker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxFrame is far above what an engine sends at once.
const maxFrame = 1 << 20

// frames takes the frames away in which the engine sends both outputs of a
// process: which of them it is, three zeros, and how many bytes follow.
type frames struct {
	stream io.ReadCloser
	left   int // of the current frame
	err    error
}

func (f *frames) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	for f.left == 0 && f.err == nil {
		f.left, f.err = next(f.stream)
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.stream.Read(buf[:min(len(buf), f.left)])
	f.left -= n
	if errors.Is(err, io.EOF) {
		err = nil // the next header is where the end may be
		if f.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		f.err = fmt.Errorf("docker: read logs: %w", err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, f.err
}

// next reads a header and returns how much follows.
func next(stream io.Reader) (int, error) {
	var header [8]byte
	if _, err := io.ReadFull(stream, header[:]); errors.Is(err, io.EOF) {
		return 0, io.EOF
	} else if err != nil {
		return 0, fmt.Errorf("docker: read logs: %w", err)
	}
	size := binary.BigEndian.Uint32(header[4:])
	switch {
	case header[0] == 3:
		return 0, errors.New("docker: read logs: the engine broke off")
	case header[0] > 3 || header[1] != 0 || header[2] != 0 || header[3] != 0 || size > maxFrame:
		return 0, fmt.Errorf("docker: read logs: %x is not the beginning of a frame", header)
	}
	return int(size), nil
}

// Close ends the stream, and a Read that waits for more of it.
func (f *frames) Close() error { return f.stream.Close() }
