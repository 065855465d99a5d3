package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"workspace-server/internal/provision"
)

// Logs implements provision.Provisioner. The engine keeps a long line in pieces of
// 16 KiB: each counts as a line, and what the process writes to its other output
// at the same time may come between them.
func (d *Driver) Logs(ctx context.Context, workspace string, tail int, follow bool) (io.ReadCloser, error) {
	found, err := d.find(ctx, workspace)
	if err != nil {
		return nil, err
	}
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {"all"}}
	if tail >= 0 {
		query.Set("tail", strconv.Itoa(tail))
	}
	if follow {
		query.Set("follow", "1")
	}
	stream, err := d.engine.stream(ctx, "/containers/"+found.ID+"/logs", query)
	if status(err) == http.StatusNotFound {
		return nil, provision.Absent(workspace)
	}
	if err != nil {
		return nil, failed("show the workspace's logs", err)
	}
	return &frames{stream: stream}, nil
}

// maxFrame is far more than an engine sends at once, in bytes.
const maxFrame = 1 << 20

// frames unpacks a stream in which the engine sends both outputs of a process. The
// header of a frame says which output it is, has three zeros, and says how many
// bytes follow.
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
		err = nil // the stream may end where a header would begin
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

// next reads a header and returns how many bytes follow.
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

// Close ends the stream, and a Read that waits for more.
func (f *frames) Close() error { return f.stream.Close() }
