#!/bin/sh
# Tool:      sigs.k8s.io/yaml v1.6.0 and github.com/goccy/go-yaml v1.19.2; compared
#            with go.yaml.in/yaml/v3 v3.0.6.
# Behaviour: into a Go string field, v3 puts the scalar's own text. sigs and goccy put
#            the text of the number that they read: `1.10` becomes "1.1", `010` becomes
#            "8", `1_000` becomes "1000". sigs also makes `7e5` "700000" and `yes`
#            "true". None of them returns an error.
# Surprise:  the field is a string, and one of three popular libraries keeps it. A
#            version 1.10 turns into 1.1, and an abbreviated commit 7e5 into 700000.
# Do:        quote such values in every YAML file that another program may read, and do
#            not swap the YAML library without a test of unquoted numbers.
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

	goccy "github.com/goccy/go-yaml"
	v3 "go.yaml.in/yaml/v3"
	sigs "sigs.k8s.io/yaml"
)

func main() {
	libraries := []struct {
		name      string
		unmarshal func([]byte, any) error
	}{
		{"v3", v3.Unmarshal},
		{"goccy", func(in []byte, out any) error { return goccy.Unmarshal(in, out) }},
		{"sigs", func(in []byte, out any) error { return sigs.Unmarshal(in, out) }},
	}
	for _, l := range libraries {
		fmt.Print(l.name)
		for _, value := range []string{"1.10", "010", "1_000", "7e5", "yes"} {
			var out struct {
				Version string `json:"version" yaml:"version"`
			}
			err := l.unmarshal([]byte("version: "+value+"\n"), &out)
			fmt.Printf(" | %s is %q", value, out.Version)
			if err != nil {
				fmt.Print(" refused")
			}
		}
		fmt.Println()
	}
}
EOF
go get sigs.k8s.io/yaml@v1.6.0 github.com/goccy/go-yaml@v1.19.2 go.yaml.in/yaml/v3@v3.0.6 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'v3 | 1.10 is "1.10" | 010 is "010" | 1_000 is "1_000" | 7e5 is "7e5" | yes is "yes"' \
	'goccy | 1.10 is "1.1" | 010 is "8" | 1_000 is "1000" | 7e5 is "7e5" | yes is "yes"' \
	'sigs | 1.10 is "1.1" | 010 is "8" | 1_000 is "1000" | 7e5 is "700000" | yes is "true"'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
