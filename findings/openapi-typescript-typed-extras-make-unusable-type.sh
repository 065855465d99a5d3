#!/bin/sh
# Tool:      openapi-typescript 7.13.0 (checked with typescript 5.9.3).
# Behaviour: an object with a string property and `additionalProperties: {type: integer}`
#            becomes {name: string} & {[key: string]: number}. No literal can be
#            assigned to it, and name must be a number as well. Generation succeeds.
#            An object with `$defs` gets them as a required property named "$defs".
# Surprise:  JSON Schema applies additionalProperties only to the names not listed, and
#            $defs is no part of the data. Both documents are valid OpenAPI 3.1.
# Do:        put the extras below a property of their own (labels: {...}), and keep
#            definitions under components.schemas.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts openapi-typescript@7.13.0 typescript@5.9.3 >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >api.yaml <<'EOF'
openapi: 3.1.0
info: {title: counts, version: "1"}
paths: {}
components:
  schemas:
    Counts:
      type: object
      required: [name]
      properties: {name: {type: string}}
      additionalProperties: {type: integer}
    Place:
      type: object
      properties: {at: {$ref: '#/components/schemas/Place/$defs/Point'}}
      $defs:
        Point: {type: number}
EOF
cat >counts.ts <<'EOF'
import type { components } from "./api";
export const counts: components["schemas"]["Counts"] = { name: "x", red: 3 };
EOF
cat >place.ts <<'EOF'
import type { components } from "./api";
export const place: components["schemas"]["Place"] = { at: 1 };
EOF
npx openapi-typescript api.yaml -o api.ts >gen.log 2>&1 || { cat gen.log; exit 1; }
sed -n '/Counts: {/,/^    };/p' api.ts
npx tsc --strict --noEmit counts.ts >counts.txt || true
npx tsc --strict --noEmit place.ts >place.txt || true
cat counts.txt place.txt

if ! grep -q "Type 'string' is not assignable to type 'number'" counts.txt; then
	echo "Typed extras beside a string property are now usable: the behaviour changed." >&2
	exit 1
fi
if ! grep -Fq "Property '\$defs' is missing" place.txt; then
	echo "\$defs is no longer a property of the type: the behaviour changed." >&2
	exit 1
fi
