#!/bin/sh
# Tool:      github.com/oapi-codegen/oapi-codegen/v2 v2.8.2 (its defaults for models).
# Behaviour: a property that is required and readOnly becomes *string with omitempty, as
#            the caller must not send it. If the object also has typed
#            additionalProperties, the generated MarshalJSON ignores that omitempty and
#            writes "id":null.
# Surprise:  the tag in the struct says the opposite. null is no string, so a server that
#            validates answers 400 to a request that leaves the field out correctly, and
#            adding additionalProperties to a schema is what starts it.
# Do:        describe what is sent by a schema without read-only fields, or keep the
#            extras below a property of their own.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >api.yaml <<'EOF'
openapi: 3.1.0
info: {title: things, version: "1"}
paths: {}
components:
  schemas:
    Closed:
      type: object
      required: [id, name]
      properties:
        id: {type: string, readOnly: true}
        name: {type: string}
    Open:
      type: object
      required: [id, name]
      properties:
        id: {type: string, readOnly: true}
        name: {type: string}
      additionalProperties: {type: integer}
EOF
cat >config.yaml <<'EOF'
package: main
generate: {models: true}
output: gen.go
output-options: {skip-prune: true}
EOF
cat >main.go <<'EOF'
package main

import (
	"encoding/json"
	"fmt"
)

func main() {
	closed, err := json.Marshal(Closed{Name: "x"})
	fmt.Println("closed:", string(closed), err)
	open, err := json.Marshal(Open{Name: "x"})
	fmt.Println("open:", string(open), err)
}
EOF
go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config config.yaml api.yaml 2>gen.log || { cat gen.log; exit 1; }
grep 'json:"id' gen.go
go run . | tee out.txt

if ! grep -Fqx 'closed: {"name":"x"} <nil>' out.txt; then
	echo "Without additionalProperties the unset field is no longer left out: the behaviour changed." >&2
	exit 1
fi
if ! grep -Fqx 'open: {"id":null,"name":"x"} <nil>' out.txt; then
	echo "With additionalProperties the unset field is no longer null: the behaviour changed." >&2
	exit 1
fi
