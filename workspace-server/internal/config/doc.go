package config

import (
	"fmt"
	"strings"
)

// Table returns the server's variables as text for a terminal.
func Table() string { return table(Vars(), 16) }

// ClientTable returns the client's variables as text for a terminal.
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

// Markdown returns the text of CONFIG.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n")
	b.WriteString("workspace-server reads all its settings from the environment. An empty variable counts as unset. With a value that\n")
	b.WriteString("it does not accept, the server does not start, and prints which values it accepts. `go test ./internal/config -update`\n")
	b.WriteString("generates this page.\n\n")
	rows(&b, Vars())
	b.WriteString("\nA supervisor runs the server by systemd's contract: `LISTEN_FDS` passes the listening socket as descriptor 3\n")
	b.WriteString("(`LISTEN_PID` is optional), `NOTIFY_SOCKET` receives `READY=1` and `STOPPING=1`, and SIGTERM drains the server.\n")
	b.WriteString("\n## The command-line client\n\n")
	b.WriteString("`workspace-server ws` uses its flags first, then these variables, then the file of `ws login`, which is\n")
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
