#!/bin/sh
# Tool:      docker compose 5.0.2 (needs a Docker engine).
# Behaviour: "environment: {NAME: }", which passes NAME on from .env or the shell,
#            takes away the value that the image gives to NAME when neither has one.
#            The container's configuration has a bare NAME, by which the engine removes
#            it. Without the line the image's value is there.
# Surprise:  one expects "nothing to pass on" to change nothing. An image that finds
#            its own files by such a variable starts without them, and no line says why.
# Do:        repeat the image's default in the file: "NAME: ${NAME:-/the/default}".
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

project=probe-of-an-unset-variable-$$
end() { docker compose -p "$project" down --rmi local >/dev/null 2>&1 || :; }

cat >docker-compose.yml <<'EOF'
x-probe: &probe
  build:
    dockerfile_inline: |
      FROM scratch
      ENV PROBE=from-the-image
      ENTRYPOINT ["/none"]
services:
  without:
    <<: *probe
  with:
    <<: *probe
    environment:
      PROBE:
  default:
    <<: *probe
    environment:
      PROBE: ${PROBE:-from-the-file}
EOF
unset PROBE || :
docker compose version
docker compose -p "$project" create --build >said.txt 2>&1 || { cat said.txt; end; exit 1; }
got() {
	id=$(docker compose -p "$project" ps --all --quiet "$1")
	docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$id" | grep '^PROBE' || :
}
failed=0
check() {
	value=$(got "$1")
	echo "$1: $value"
	[ "$value" = "$2" ] || failed=1
}
check without PROBE=from-the-image
check with PROBE # a name without a value, which the engine takes out of the environment
check default PROBE=from-the-file
end
[ "$failed" = 0 ] || { echo 'The behaviour changed.' >&2; exit 1; }
