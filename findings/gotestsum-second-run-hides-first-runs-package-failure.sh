#!/bin/sh
# Tool:      gotest.tools/gotestsum v1.13.0 (with the go command on the PATH).
# Behaviour: when the JSON of two runs of one package is merged, a failure of the
#            package itself (here TestMain exits 3) in the first run is gone once the
#            second run passes: "DONE 2 tests", no failure in the summary, and
#            failures="0" in the JUnit file.
# Surprise:  failed tests are added up over the runs, a failed package is overwritten.
#            Two runs of one package are common: two sets of tags, two shards by -run.
# Do:        summarise each run on its own, and keep the exit status of every run.
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
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("DATABASE") == "left open" {
		fmt.Println("the database was left open")
		code = 3
	}
	os.Exit(code)
}

func TestGreen(t *testing.T) {}
EOF
first=0
DATABASE='left open' go test -count=1 -json >first.json || first=$?
go test -count=1 -json >second.json

summary() { # summary NAME FILE...: gotestsum's summary and failure count of the files
	name=$1
	shift
	go run gotest.tools/gotestsum@v1.13.0 --junitfile "$name.xml" --raw-command -- cat "$@" >"$name.txt" 2>err.txt
	echo "$name: $(grep DONE "$name.txt" | sed 's/ in .*//'), $(grep -o '<testsuites [^>]*failures="[0-9]*"' "$name.xml" | grep -o 'failures="[0-9]*"')"
}
echo "exit status of the first go test: $first"
summary alone first.json
summary merged first.json second.json

if [ "$first" -eq 0 ] || ! grep -q 'DONE .*1 failure' alone.txt; then
	echo "The first run alone does not count as a failure: nothing is shown." >&2
	exit 1
fi
if grep -q 'failure' merged.txt || ! grep -q '<testsuites [^>]*failures="0"' merged.xml; then
	echo "gotestsum now keeps the package's failure of the first run: the behaviour changed." >&2
	exit 1
fi
