#!/bin/sh
# Tool:      modernc.org/sqlite v1.62.0 under database/sql of Go.
# Behaviour: an argument too many is ignored: Exec("… values (?)", 1, 2) returns nil.
#            Query("select 1; select 2") yields only the 2, and NextResultSet is false.
# Surprise:  database/sql promises to refuse a wrong number of arguments, as it does
#            under other drivers; a lost placeholder in an edited statement goes unseen.
# Do:        send one statement a call, and count the placeholders in the helper that
#            builds the statement.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"database/sql"
	"fmt"

	_ "modernc.org/sqlite"
)

func main() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err = db.Exec("create table t (a, b)"); err != nil {
		panic(err)
	}
	_, err = db.Exec("insert into t (a) values (?)", 1, 2)
	fmt.Println("one too many:", err)
	_, err = db.Exec("insert into t (a, b) values (?, ?)", 1)
	fmt.Println("one too few:", err)

	rows, err := db.Query("select 1; select 2")
	if err != nil {
		panic(err)
	}
	defer rows.Close()
	fmt.Print("rows of two selects:")
	for rows.Next() {
		var n int
		if err = rows.Scan(&n); err != nil {
			panic(err)
		}
		fmt.Print(" ", n)
	}
	fmt.Println("\nnext result set:", rows.NextResultSet(), rows.Err())
}
EOF
go get modernc.org/sqlite@v1.62.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'one too many: <nil>' 'one too few: missing argument with index 2' 'rows of two selects: 2' 'next result set: false <nil>'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
