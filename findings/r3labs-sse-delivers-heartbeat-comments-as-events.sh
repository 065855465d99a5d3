#!/bin/sh
# Tool:      github.com/r3labs/sse/v2 v2.10.0 (client).
# Behaviour: once an event had an id, each heartbeat comment (": hb" and a blank line) is
#            delivered to the handler as an event of its own: no data, no name, and the
#            id of the event before. Before the first id, comments are dropped as they
#            should be. An event of an id alone is delivered as well.
# Surprise:  a comment is no event, and the standard dispatches nothing while the data is
#            empty. A handler that decodes JSON fails at every heartbeat, only on streams
#            with ids, and only after the first event.
# Do:        in the handler, return at once when len(event.Data) is 0.
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
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/r3labs/sse/v2"
)

func main() {
	for _, stream := range []struct{ name, body string }{
		{"without ids", "data: one\n\n: hb\n\n: hb\n\n"},
		{"with ids", "id: 7\ndata: one\n\n: hb\n\n: hb\n\n"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, stream.body)
		}))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		fmt.Print(stream.name, ":")
		err := sse.NewClient(server.URL).SubscribeWithContext(ctx, "", func(e *sse.Event) {
			fmt.Printf(" [id %q data %q]", e.ID, e.Data)
		})
		fmt.Println("", err)
		cancel()
		server.Close()
	}
}
EOF
go get github.com/r3labs/sse/v2@v2.10.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'without ids: [id "" data "one"] <nil>' 'with ids: [id "7" data "one"] [id "7" data ""] [id "7" data ""] <nil>'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
