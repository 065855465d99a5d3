#!/bin/sh
# Tool:      gotest.tools/gotestsum v1.13.0 (with the go command on the PATH).
# Behaviour: `gotestsum --raw-command` prints "1 failure" and exits 0, if the raw
#            command itself exits 0. The failures in the JSON do not decide.
# Surprise:  the usual raw command is `cat`, or a script that merges the JSON of
#            several runs. A red test in it leaves the CI step green.
# Do:        let the raw command exit with the status of the go command, or test
#            the JSON for a "fail" action afterwards.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >a_test.go <<'EOF'
package probe

import "testing"

func TestRed(t *testing.T)   { t.Error("this test fails") }
func TestGreen(t *testing.T) {}
EOF
direct=0
go test -json >run.json || direct=$?

replay=0
go run gotest.tools/gotestsum@v1.13.0 --raw-command -- cat run.json >out.txt 2>err.txt || replay=$?
cat out.txt
echo "exit status of go test: $direct, of the replay of its output: $replay"

if [ "$direct" -eq 0 ] || ! grep -q '1 failure' out.txt; then
	cat err.txt
	echo "The run did not fail, or gotestsum did not count the failure: nothing is shown." >&2
	exit 1
fi
if [ "$replay" -ne 0 ]; then
	echo "gotestsum now fails when the JSON holds a failed test: the behaviour changed." >&2
	exit 1
fi
