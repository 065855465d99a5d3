#!/bin/sh
# Tool:      go.yaml.in/yaml/v3 v3.0.6; compared with go.yaml.in/yaml/v4 v4.0.0.
# Behaviour: v3 decodes 1.9 into an int field as 1 and .5 as 0, without an error.
#            010 becomes 8, and so does 08 (not octal, so it is read as a float and cut).
#            KnownFields(true) changes nothing. v4 refuses the fractions, but still
#            reads 010 and 08 as 8.
# Surprise:  encoding/json refuses 1.9 for an int, and the decoder looks just as strict.
#            `timeout_minutes: 0.5` silently means no time at all.
# Do:        where a number matters, decode it into a yaml.Node first and accept only
#            a Value that strconv.Atoi reads, without a leading zero.
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
	"strings"

	v3 "go.yaml.in/yaml/v3"
	v4 "go.yaml.in/yaml/v4"
)

func main() {
	for _, value := range []string{"1.9", ".5", "010", "08"} {
		in := "n: " + value + "\n"
		var a, b struct{ N int }
		d := v3.NewDecoder(strings.NewReader(in))
		d.KnownFields(true)
		err := d.Decode(&a)
		fmt.Printf("v3 %s is %d refused=%t\n", value, a.N, err != nil)
		err = v4.Unmarshal([]byte(in), &b)
		fmt.Printf("v4 %s is %d refused=%t\n", value, b.N, err != nil)
	}
}
EOF
go get go.yaml.in/yaml/v3@v3.0.6 go.yaml.in/yaml/v4@v4.0.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'v3 1.9 is 1 refused=false' 'v3 .5 is 0 refused=false' 'v3 010 is 8 refused=false' 'v3 08 is 8 refused=false' \
	'v4 1.9 is 0 refused=true' 'v4 .5 is 0 refused=true' 'v4 010 is 8 refused=false' 'v4 08 is 8 refused=false'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
