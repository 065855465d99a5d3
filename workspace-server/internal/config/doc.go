package config

import (
	"fmt"
	"strings"
)

// Table prints the server's variables for a terminal.
func Table() string { return table(Vars(), 16) }

// ClientTable prints the client's.
func ClientTable() string { return table(ClientVars(), 22) }

func table(vars []Var, width int) string {
	var b strings.Builder
	for _, v := range vars {
		fmt.Fprintf(&b, "  %-*s %s\n", width, v.Name, v.Meaning)
		fmt.Fprintf(&b, "  %-*s accepts: %s\n", width, "", v.Accepts)
		if v.Default != "" {
			fmt.Fprintf(&b, "  %-*s default: %s\n", width, "", v.Default)
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
	rows(&b, Vars())
	b.WriteString("\nThe service manager's contract is systemd's: `LISTEN_FDS` (one socket, as descriptor 3; `LISTEN_PID` is optional)\n")
	b.WriteString("passes the listener, `NOTIFY_SOCKET` receives `READY=1` and `STOPPING=1`, SIGTERM drains.\n")
	b.WriteString("\n## The command-line client\n\n")
	b.WriteString("`workspace-server ws` takes its flags first, then these variables, then what `ws login` has noted in\n")
	b.WriteString("`$XDG_CONFIG_HOME/workspace-server/client.json` (else below `~/.config`), then the server of this machine.\n\n")
	rows(&b, ClientVars())
	return b.String()
}

func rows(b *strings.Builder, vars []Var) {
	b.WriteString("| variable | accepts | default | meaning |\n|---|---|---|---|\n")
	for _, v := range vars {
		fallback := "(empty)"
		if v.Default != "" {
			fallback = v.Default
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", v.Name, v.Accepts, fallback, v.Meaning)
	}
}
