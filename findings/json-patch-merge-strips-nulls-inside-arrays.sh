#!/bin/sh
# Tool:      github.com/evanphx/json-patch/v5 v5.9.11.
# Behaviour: MergePatch with {"steps":[{"run":"x","else":null}]} stores
#            [{"run":"x"}]: the null inside the array is dropped.
# Surprise:  RFC 7396 replaces an array as a whole, and a null deletes only a member of
#            an object that is itself part of the patch's object tree. So the stored
#            document differs from the array that the client sent, and a second, equal
#            patch is seen as a change by whoever compares.
# Do:        do not rely on a null inside an array; where it has a meaning, use a
#            JSON Patch (RFC 6902) "replace", which keeps it, or merge with own code.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

func main() {
	document := []byte(`{"steps":[]}`)
	merged, err := jsonpatch.MergePatch(document, []byte(`{"steps":[{"run":"x","else":null}]}`))
	fmt.Println("merge patch:", string(merged), err)

	patch, err := jsonpatch.DecodePatch([]byte(`[{"op":"replace","path":"/steps","value":[{"run":"x","else":null}]}]`))
	if err != nil {
		panic(err)
	}
	replaced, err := patch.Apply(document)
	fmt.Println("JSON patch:", string(replaced), err)
}
EOF
go get github.com/evanphx/json-patch/v5@v5.9.11 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

if ! grep -Fqx 'merge patch: {"steps":[{"run":"x"}]} <nil>' out.txt; then
	echo "MergePatch no longer drops the null inside the array: the behaviour changed." >&2
	exit 1
fi
if ! grep -Fqx 'JSON patch: {"steps":[{"run":"x","else":null}]} <nil>' out.txt; then
	echo "A JSON Patch no longer keeps the null inside the array: the behaviour changed." >&2
	exit 1
fi
