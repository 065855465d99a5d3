#!/bin/sh
# Tool:      modernc.org/sqlite v1.62.0 under database/sql of Go.
# Behaviour: in a transaction, an INSERT whose own context ends is interrupted, and
#            SQLite rolls the whole transaction back. database/sql does not notice: the
#            next tx.Exec succeeds outside of any transaction and is stored at once.
#            Commit then returns "cannot commit - no transaction is active", and a
#            Rollback in its place would leave the row as well.
# Surprise:  a Tx that returned an error from Commit has nevertheless stored its second
#            half, and has lost its first.
# Do:        give all statements of a transaction the context of BeginTx; after the
#            error of any statement, roll back and run nothing more on that Tx.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	_ "modernc.org/sqlite"
)

const endless = `insert into t
	with recursive n(i) as (select 1 union all select i+1 from n where i < 100000000)
	select 'slow' from n`

func try(end string, finish func(*sql.Tx) error) {
	db, err := sql.Open("sqlite", "file:"+end+".db")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err = db.Exec("create table t (a text)"); err != nil {
		panic(err)
	}
	tx, err := db.Begin()
	if err != nil {
		panic(err)
	}
	if _, err = tx.Exec("insert into t values ('first')"); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	_, interrupted := tx.ExecContext(ctx, endless)
	cancel()
	_, after := tx.Exec("insert into t values ('second')")
	ended := finish(tx)
	var first, second int
	row := db.QueryRow("select count(*) filter (where a='first'), count(*) filter (where a='second') from t")
	if err = row.Scan(&first, &second); err != nil {
		panic(err)
	}
	fmt.Printf("slow write: %v\nnext write: %v\n%s: %v\n%s left first=%d second=%d\n", interrupted, after, end, ended, end, first, second)
}

func main() {
	try("Commit", (*sql.Tx).Commit)
	try("Rollback", (*sql.Tx).Rollback)
}
EOF
go get modernc.org/sqlite@v1.62.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'next write: <nil>' 'Commit left first=0 second=1' 'Rollback left first=0 second=1'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
if grep -Fqx 'Commit: <nil>' out.txt; then
	echo "Commit now succeeds after the interrupted write: the behaviour changed." >&2
	exit 1
fi
