#!/bin/sh
# Tool:      go test -json (cmd/test2json) of the go command on the PATH; seen with go1.26.8.
# Behaviour: what a parallel test prints with fmt, or a server that it started writes to
#            os.Stdout, is filed under the test that last wrote through t.Log or t.Run,
#            not under the test that printed it.
# Surprise:  the Test field of each output event looks like a fact. Reports built on it
#            (gotestsum, JUnit files) show a failed test without its own server's log and
#            put that log under a passed neighbour.
# Do:        write to t.Output() (Go 1.25 and later), or give the server's logger a writer
#            that calls t.Log.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >a_test.go <<'EOF'
package probe

import (
	"fmt"
	"testing"
)

var logged, printed = make(chan bool), make(chan bool)

func TestPrinter(t *testing.T) {
	t.Parallel()
	<-logged
	fmt.Println("printed by TestPrinter with fmt")
	close(printed)
}

func TestLogger(t *testing.T) {
	t.Parallel()
	t.Log("logged by TestLogger")
	close(logged)
	<-printed
}

func TestWriter(t *testing.T) {
	t.Parallel()
	<-printed
	fmt.Fprintln(t.Output(), "written by TestWriter to t.Output")
}
EOF
go test -json -count=1 -parallel 3 . >out.json || { cat out.json; exit 1; }
go version
of() { # of TEXT: the Test field of the output event that holds TEXT
	grep -F "$1" out.json | sed 's/.*"Test":"\([^"]*\)".*/\1/'
}
printer=$(of 'printed by TestPrinter')
writer=$(of 'written by TestWriter')
echo "fmt.Println in TestPrinter is filed under: $printer"
echo "t.Output in TestWriter is filed under: $writer"

if [ "$printer" != TestLogger ]; then
	echo "The print is no longer filed under the other test: the behaviour changed." >&2
	exit 1
fi
if [ "$writer" != TestWriter ]; then
	echo "t.Output is no longer filed under its own test: the behaviour changed." >&2
	exit 1
fi
