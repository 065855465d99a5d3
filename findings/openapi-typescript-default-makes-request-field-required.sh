#!/bin/sh
# Tool:      openapi-typescript 7.13.0 (checked with typescript 5.9.3).
# Behaviour: an optional property with a `default` becomes a required one in the type.
#            The same type serves requests, so {name: "x"} is a type error although the
#            server fills in the default. --default-non-nullable=false makes it optional.
# Surprise:  a default is there so that the caller may leave the value out. Adding one
#            to an API breaks the compilation of every TypeScript caller.
# Do:        generate with --default-non-nullable=false; then read a response's field as
#            possibly undefined, or describe requests and responses by schemas of their own.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts openapi-typescript@7.13.0 typescript@5.9.3 >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >api.yaml <<'EOF'
openapi: 3.1.0
info: {title: jobs, version: "1"}
paths: {}
components:
  schemas:
    Job:
      type: object
      required: [name]
      properties:
        name: {type: string}
        retries: {type: integer, default: 3}
EOF
cat >use.ts <<'EOF'
import type { components } from "./api";
export const job: components["schemas"]["Job"] = { name: "x" };
EOF

check() { # check NAME FLAG...: generate with the flags and compile the use
	name=$1
	shift
	npx openapi-typescript api.yaml -o api.ts "$@" >gen.log 2>&1 || { cat gen.log; exit 1; }
	rc=0
	npx tsc --strict --noEmit use.ts >"$name.txt" || rc=$?
	echo "$name: $(grep -o 'retries.*' api.ts) tsc exits $rc"
	cat "$name.txt"
}
check plain
plain=$rc
check flag --default-non-nullable=false

if [ "$plain" -eq 0 ] || ! grep -q "Property 'retries' is missing" plain.txt; then
	echo "A property with a default may now be left out: the behaviour changed." >&2
	exit 1
fi
if [ "$rc" -ne 0 ]; then
	echo "--default-non-nullable=false no longer makes it optional: the behaviour changed." >&2
	exit 1
fi
