#!/bin/sh
# Tool:      github.com/stretchr/testify v1.12.1.
# Behaviour: assert.YAMLEq compares the first document of each side only. Whatever
#            follows the first `---` may differ or be missing: the test passes.
#            assert.JSONEq has a blind spot of its own: integers beyond 2^53 are compared as
#            float64, so that ...993 equals ...992.
# Surprise:  a golden file of several manifests in one stream, the usual form of what a
#            renderer prints, is compared by its first manifest alone.
# Do:        split the stream with a yaml.Decoder and compare document by document; compare
#            64-bit identifiers as decoded with json.Decoder.UseNumber.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >a_test.go <<'EOF'
package probe

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

type recorder struct{}

func (recorder) Errorf(string, ...any) {}

func TestBlindSpots(t *testing.T) {
	show := func(what string, equal bool) { t.Logf("%s: equal=%t", what, equal) }
	show("first document differs", assert.YAMLEq(recorder{}, "a: 1\n", "a: 2\n"))
	show("second document differs", assert.YAMLEq(recorder{}, "a: 1\n---\nb: 2\n", "a: 1\n---\nb: 3\n"))
	show("second document is missing", assert.YAMLEq(recorder{}, "a: 1\n---\nb: 2\n", "a: 1\n"))
	show("small integers differ", assert.JSONEq(recorder{}, `{"id":2}`, `{"id":3}`))
	show("large integers differ", assert.JSONEq(recorder{}, `{"id":9007199254740993}`, `{"id":9007199254740992}`))
}
EOF
go get github.com/stretchr/testify/assert@v1.12.1 2>>go.log || { cat go.log; exit 1; }
go test -v -count=1 . >out.txt 2>err.txt || { cat out.txt err.txt; exit 1; }
grep 'equal=' out.txt

for end in 'first document differs: equal=false' 'second document differs: equal=true' 'second document is missing: equal=true' \
	'small integers differ: equal=false' 'large integers differ: equal=true'; do
	if ! grep -Fq "$end" out.txt; then
		echo "Expected \"$end\": the behaviour changed." >&2
		exit 1
	fi
done
