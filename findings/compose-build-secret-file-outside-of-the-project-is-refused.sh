#!/bin/sh
# Tool:      docker compose 5.0.2 with buildx 0.38.2 (needs a Docker engine).
# Behaviour: a build whose secret is a file outside of the project's directory ends
#            with 'additional privileges requested: pass "--allow=fs.read=../ca.pem"',
#            also with COMPOSE_BAKE=false. The same file as a secret of a running
#            service, and any file below the directory, are taken.
# Surprise:  compose has no such flag. Compose builds with "buildx bake", which trusts
#            no file that its own input names, although the user's file named it.
# Do:        keep the file of a build secret in the project (and out of git), or give
#            the secret by a variable ("environment: NAME").
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

mkdir project
echo secret >ca.pem
cp ca.pem project/ca.pem
cat >project/docker-compose.yml <<'EOF'
services:
  probe:
    image: probe-of-a-build-secret
    build:
      dockerfile_inline: |
        FROM scratch
        LABEL probe=1
      secrets: [ca]
secrets:
  ca:
    file: ${CA}
EOF
cd project
build() { docker compose build >"../$1.txt" 2>&1; }
export CA
CA=./ca.pem
build inside || { cat ../inside.txt; echo "A file of the project is not taken: nothing is shown." >&2; exit 1; }
docker image rm probe-of-a-build-secret >/dev/null
echo 'a file of the project: built'
CA=../ca.pem
if build outside; then
	docker image rm probe-of-a-build-secret >/dev/null
	echo "A file from elsewhere is taken: the behaviour changed." >&2
	exit 1
fi
COMPOSE_BAKE=false
export COMPOSE_BAKE
if build unbaked; then
	docker image rm probe-of-a-build-secret >/dev/null
	echo "A file from elsewhere is taken with COMPOSE_BAKE=false: the behaviour changed." >&2
	exit 1
fi
grep 'additional privileges' ../outside.txt ../unbaked.txt
