#!/bin/sh
# Tool:      github.com/compose-spec/compose-go/v2 v2.16.2 (docker compose),
#            github.com/joho/godotenv v1.5.1 (air's env_files and many Go servers),
#            github.com/docker/cli v29.8.2 (docker run --env-file), and sh.
# Behaviour: no way to write the password pa$word in an env file is read alike by all
#            four. Unquoted, compose and sh cut it to "pa", godotenv keeps it. In single
#            quotes three agree, while docker run keeps the quotes as part of the value.
#            With a backslash before the dollar, unquoted, compose keeps the backslash.
# Surprise:  one file named .env is handed to all of them, and each looks like shell.
# Do:        use single quotes and do not hand the file to docker run --env-file; or make
#            generated secrets of letters and digits only, and test that.
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
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
	"github.com/joho/godotenv"
	"github.com/sirupsen/logrus"
)

var digits = regexp.MustCompile("[0-9]+")

func main() {
	logrus.SetOutput(io.Discard) // compose's warning of the unset variable
	const want = "pa$word"
	agreed := 0
	for _, line := range []string{`A=pa$word`, `A='pa$word'`, `A="pa$word"`, `A=pa\$word`, `A="pa\$word"`, `A=pa$$word`} {
		file := line + "\n"
		if err := os.WriteFile("env", []byte(file), 0o600); err != nil {
			panic(err)
		}
		compose, err := dotenv.Parse(strings.NewReader(file))
		must(err)
		dotenv, err := godotenv.Parse(strings.NewReader(file))
		must(err)
		run, err := kvfile.Parse("env", nil)
		must(err)
		shell := exec.Command("sh", "-c", `. ./env && printf %s "$A"`)
		shell.Env = []string{"PATH=" + os.Getenv("PATH")}
		sh, err := shell.Output()
		must(err)
		values := []string{compose["A"], dotenv["A"], strings.TrimPrefix(run[0], "A="), string(sh)}
		all := true
		for _, v := range values {
			all = all && v == want
		}
		if all {
			agreed++
		}
		values[3] = digits.ReplaceAllString(values[3], "<pid>")
		fmt.Printf("%-14s compose %-10s godotenv %-10s docker run %-12s sh %s\n", line, values[0], values[1], values[2], values[3])
	}
	fmt.Println("spellings that all four read alike and right:", agreed)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
EOF
go get github.com/compose-spec/compose-go/v2@v2.16.2 github.com/joho/godotenv@v1.5.1 github.com/docker/cli/pkg/kvfile@v29.8.2+incompatible github.com/sirupsen/logrus@v1.10.1 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

if ! grep -Fqx 'spellings that all four read alike and right: 0' out.txt; then
	echo "Some spelling of pa\$word is now read alike by all four: the behaviour changed." >&2
	exit 1
fi
