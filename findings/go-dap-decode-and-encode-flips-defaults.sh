#!/bin/sh
# Tool:      github.com/google/go-dap v0.12.0.
# Behaviour: decoding a message of the Debug Adapter Protocol and encoding it again
#            changes it. A continue response without allThreadsContinued (absent means
#            true) comes out with false. A disconnect with terminateDebuggee false, and a
#            stack frame with canRestart false, come out without it, and absent means
#            something else. Fields that the library does not know are lost, and an
#            event that it does not know is a decoding error.
# Surprise:  initialize does get its defaults, so the round trip looks faithful. A relay
#            built on it leaves an editor showing the other threads as halted, or lets
#            an adapter kill a process that the user wanted to keep.
# Do:        relay the bytes (ReadBaseMessage, WriteBaseMessage) and decode a copy.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"encoding/json"
	"fmt"

	"github.com/google/go-dap"
)

func main() {
	for _, in := range []string{
		`{"seq":1,"type":"response","request_seq":1,"command":"continue","success":true,"body":{}}`,
		`{"seq":2,"type":"request","command":"disconnect","arguments":{"terminateDebuggee":false}}`,
		`{"seq":3,"type":"response","request_seq":3,"command":"stackTrace","success":true,"body":{"stackFrames":[{"id":1,"name":"main.main","line":1,"column":1,"canRestart":false}]}}`,
		`{"seq":4,"type":"event","event":"continued","body":{"threadId":1,"later":"field"}}`,
		`{"seq":5,"type":"event","event":"x-progress","body":{}}`,
	} {
		message, err := dap.DecodeProtocolMessage([]byte(in))
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		out, err := json.Marshal(message)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(out))
	}
}
EOF
go get github.com/google/go-dap@v0.12.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

changed() { # changed WHAT: say so and fail
	echo "$1: the behaviour changed." >&2
	exit 1
}
[ "$(wc -l <out.txt)" -eq 5 ] || changed "Expected five lines"
grep -F '"continue"' out.txt | grep -Fq '"allThreadsContinued":false' || changed "An absent allThreadsContinued no longer comes out as false"
! grep -Fq terminateDebuggee out.txt || changed "terminateDebuggee false is no longer lost"
! grep -Fq canRestart out.txt || changed "canRestart false is no longer lost"
! grep -Fq later out.txt || changed "An unknown field is no longer lost"
grep -q '^error: .*x-progress' out.txt || changed "An unknown event is no longer a decoding error"
