#!/bin/sh
# Tool:      @devcontainers/cli 0.89.0 (read-configuration; needs no container engine).
# Behaviour: ${localEnv:PROXY:http://proxy:3128} with PROXY unset becomes "http". The
#            default ends at its first colon, and the rest is dropped without a message.
#            ${localEnv:IMAGE:registry:5000/dev:1} becomes "registry".
# Surprise:  the form is NAME:DEFAULT, and defaults with a colon (URLs, images with tag
#            or port, host:port) are the common ones.
# Do:        put such defaults elsewhere: in the compose file (${PROXY:-http://proxy:3128}
#            keeps its colons) or in a script that the container starts with.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts @devcontainers/cli@0.89.0 >npm.log 2>&1 || { cat npm.log; exit 1; }
mkdir -p project/.devcontainer
cat >project/.devcontainer/devcontainer.json <<'EOF'
{
	"image": "${localEnv:PROBE_UNSET:registry:5000/dev:1}",
	"remoteEnv": {
		"PROXY": "${localEnv:PROBE_UNSET:http://proxy:3128}",
		"PLAIN": "${localEnv:PROBE_UNSET:plain}"
	}
}
EOF
unset PROBE_UNSET
npx devcontainer read-configuration --workspace-folder project >out.json 2>err.txt || { cat err.txt; exit 1; }
grep -o -e '"image":"[^"]*"' -e '"remoteEnv":{[^}]*}' out.json

if ! grep -Fq '"PLAIN":"plain"' out.json; then
	echo "A default without a colon is not used: nothing is shown." >&2
	exit 1
fi
if ! grep -Fq '"PROXY":"http"' out.json || ! grep -Fq '"image":"registry"' out.json; then
	echo "A default is no longer cut at its first colon: the behaviour changed." >&2
	exit 1
fi
