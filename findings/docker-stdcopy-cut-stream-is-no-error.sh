#!/bin/sh
# Tool:      github.com/moby/moby/api v1.56.0 (pkg/stdcopy, which splits container logs).
# Behaviour: a log stream that ends within a frame, or within a frame's header, makes
#            StdCopy return nil, and what came of that frame is dropped.
# Surprise:  io.ReadFull and encoding/binary taught us io.ErrUnexpectedEOF. A connection
#            that closes in good order in the middle (a proxy, a restarted engine) looks
#            like the end of the logs, one line short.
# Do:        for logs that must be whole, read the 8-byte headers and the frames with
#            io.ReadFull, or ask afterwards whether the container had ended.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/moby/moby/api/pkg/stdcopy"
)

func frame(text string) []byte {
	header := make([]byte, 8)
	header[0] = byte(stdcopy.Stdout)
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return append(header, text...)
}

func main() {
	first := frame("first line\n")
	stream := append(first, frame("second line\n")...)
	for _, cut := range []struct {
		where string
		bytes int
	}{
		{"nowhere", len(stream)},
		{"in the second frame", len(stream) - 5},
		{"in the second header", len(first) + 3},
	} {
		var out, problems bytes.Buffer
		n, err := stdcopy.StdCopy(&out, &problems, bytes.NewReader(stream[:cut.bytes]))
		fmt.Printf("cut %s: %q, %d bytes, error %v\n", cut.where, out.String(), n, err)
	}
}
EOF
go get github.com/moby/moby/api@v1.56.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for where in 'in the second frame' 'in the second header'; do
	if ! grep -Fqx "cut $where: \"first line\\n\", 11 bytes, error <nil>" out.txt; then
		echo "StdCopy no longer swallows a stream cut $where: the behaviour changed." >&2
		exit 1
	fi
done
