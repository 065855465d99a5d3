#!/bin/sh
# Tool:      github.com/rogpeppe/go-internal v1.16.0 (testscript).
# Behaviour: `! exec PROGRAM` passes when PROGRAM does not exist. So does
#            `! exec PROGRAM &` with its `wait`.
# Surprise:  the line is read as "the program runs and fails". After a rename of the
#            program, or with a typo, every negative test stays green and tests nothing.
# Do:        follow each `! exec` with a `stderr 'text'` of the program's own, or register
#            the program with testscript.Main and call it without exec: an unknown command
#            is then an error of the script.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
mkdir scripts
cat >scripts/missing.txtar <<'EOF'
! exec no-such-program-anywhere --flag
! exec no-such-program-either &
wait
EOF
cat >a_test.go <<'EOF'
package probe

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "scripts"})
}
EOF
go get github.com/rogpeppe/go-internal/testscript@v1.16.0 2>>go.log || { cat go.log; exit 1; }
missing=0
go test -v -count=1 . >out.txt 2>&1 || missing=$?
grep -e '> ' -e 'not found' -e '^---' out.txt

printf '! no-such-command --flag\n' >scripts/missing.txtar
unknown=0
go test -count=1 . >unknown.txt 2>&1 || unknown=$?
echo "exit status with ! exec of missing programs: $missing, with an unknown command: $unknown"

if [ "$missing" -ne 0 ]; then
	echo "! exec of a missing program now fails the script: the behaviour changed." >&2
	exit 1
fi
if [ "$unknown" -eq 0 ]; then
	echo "An unknown command no longer fails the script: the behaviour changed." >&2
	exit 1
fi
