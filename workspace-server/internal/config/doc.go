package config

import (
	"fmt"
	"strings"
)

// Table prints the variables for a terminal.
func Table() string {
	var b strings.Builder
	for _, v := range Vars() {
		fmt.Fprintf(&b, "  %-16s %s\n", v.Name, v.Meaning)
		fmt.Fprintf(&b, "  %-16s accepts: %s\n", "", v.Accepts)
		if v.Default != "" {
			fmt.Fprintf(&b, "  %-16s default: %s\n", "", v.Default)
		}
	}
	return b.String()
}

// Markdown prints the variables as the text of CONFIG.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n")
	b.WriteString("workspace-server is configured by its environment alone. An empty variable counts as unset; a value that is\n")
	b.WriteString("not accepted stops the start with a line that says what is. This page is generated from `internal/config`:\n")
	b.WriteString("`go test ./internal/config -update`.\n\n")
	b.WriteString("| variable | accepts | default | meaning |\n|---|---|---|---|\n")
	for _, v := range Vars() {
		fallback := "(empty)"
		if v.Default != "" {
			fallback = v.Default
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.Name, v.Accepts, fallback, v.Meaning)
	}
	b.WriteString("\nThe service manager's contract is systemd's: `LISTEN_FDS` (one socket, as descriptor 3; `LISTEN_PID` is optional)\n")
	b.WriteString("passes the listener, `NOTIFY_SOCKET` receives `READY=1` and `STOPPING=1`, SIGTERM drains.\n")
	return b.String()
}
