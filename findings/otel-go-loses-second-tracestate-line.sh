#!/bin/sh
# Tool:      go.opentelemetry.io/otel v1.47.0 (propagation.TraceContext).
# Behaviour: of a tracestate sent as two header lines only the first is read: the
#            second line's members are gone, and the next hop never gets them.
# Surprise:  W3C Trace Context says that several lines are one list, as in RFC 9110. A proxy
#            that puts a line of its own first thus cuts off what the vendors before it
#            wrote. The trace itself goes on, so nothing shows the loss.
# Do:        join the lines with a comma, in the proxy or in a middleware that runs before
#            the propagator.
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

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	for _, c := range []struct {
		name  string
		lines []string
	}{
		{"one line", []string{"a=1,b=2"}},
		{"two lines", []string{"a=1", "b=2"}},
	} {
		header := http.Header{
			"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			"Tracestate":  c.lines,
		}
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(header))
		sc := trace.SpanContextFromContext(ctx)
		fmt.Printf("%s: trace accepted=%t, tracestate %q\n", c.name, sc.IsValid(), sc.TraceState().String())
	}
}
EOF
go get go.opentelemetry.io/otel@v1.47.0 go.opentelemetry.io/otel/trace@v1.47.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'one line: trace accepted=true, tracestate "a=1,b=2"' \
	'two lines: trace accepted=true, tracestate "a=1"'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
