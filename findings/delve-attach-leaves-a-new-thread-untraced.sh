#!/bin/sh
# Tool:      github.com/go-delve/delve v1.27.2, on Linux.
# Behaviour: `dlv attach` lists the threads of the process once. A thread that a
#            thread not yet attached to starts meanwhile stays untraced for as long
#            as dlv is attached (TracerPid 0), and runs on while dlv halts the rest.
# Surprise:  "attached" reads as the whole process, but dlv neither sees nor stops what
#            an untraced thread does, and a debugging session can end the process.
# Do:        after an attach, look at TracerPid in /proc/PID/task/*/status; if one
#            is 0, detach and attach again before any breakpoint is set.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
cd "$tmp"
export GOWORK=off

GOBIN=$tmp go install github.com/go-delve/delve/cmd/dlv@v1.27.2 2>go.log
cat >go.mod <<'EOF'
module probe

go 1.25
EOF
cat >main.go <<'EOF'
// Probe starts a thread now and then, as a server under load does, for a minute.
package main

import (
	"runtime"
	"time"
)

func thread(depth int) {
	runtime.LockOSThread() // an end without unlocking ends the thread
	time.Sleep(2 * time.Millisecond)
	if depth > 0 {
		go thread(depth - 1)
	}
	time.Sleep(2 * time.Second)
}

func main() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		go thread(3)
		time.Sleep(5 * time.Millisecond)
	}
}
EOF
go build -o probe .

# threads PATTERN: how many threads of the process have such a TracerPid.
threads() {
	cat /proc/"$server"/task/*/status 2>/dev/null | grep -c "^TracerPid:[[:space:]]*$1\$" || true
}

missed=0
attached=0
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	./probe &
	server=$!
	sleep 1
	./dlv attach "$server" --headless --api-version=2 --listen="unix:$tmp/dlv.sock" >dlv.log 2>&1 &
	dlv=$!
	# The attach is over when dlv has traced no further thread for two seconds.
	before=0
	traced=0
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
		sleep 2
		traced=$(threads '[1-9][0-9]*')
		[ "$traced" -eq 0 ] || [ "$traced" -ne "$before" ] || break
		before=$traced
	done
	if [ "$traced" -gt 0 ] && kill -0 "$dlv" 2>/dev/null; then
		attached=$((attached + 1))
		untraced=$(threads 0)
		echo "try $try: dlv traces $traced threads and has left out $untraced"
		[ "$untraced" -eq 0 ] || missed=$((missed + 1))
	fi
	kill -9 "$server" "$dlv" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -f dlv.sock dlv.log
	server=
	[ "$missed" -eq 0 ] || break
done
echo "$missed of $attached attaches missed a thread"
if [ "$missed" -eq 0 ]; then
	echo "No attach missed a thread: the behaviour changed." >&2
	exit 1
fi
