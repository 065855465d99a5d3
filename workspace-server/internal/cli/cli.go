// Package cli is the command line for the users of a server: its verbs, their flags,
// and how answers look in a terminal.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"workspace-server/internal/client"
	"workspace-server/internal/config"
)

// program is the beginning of every command line.
const program = "workspace-server ws"

// Terminal is where a command runs. Its result goes to Out, everything else to Err.
type Terminal struct {
	Getenv   func(string) string
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes.
const (
	codeFailed   = 1
	codeUsage    = 2
	codeNotFound = 3
	codeRefused  = 4
	codeConflict = 5
)

// Error is an error with the program's exit code.
type Error struct {
	Code int
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func errorf(code int, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// coded gives an error its code, unless it has one.
func coded(err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return errorf(codeFailed, "the command was interrupted")
	}
	code := codeFailed
	switch client.StatusOf(err) {
	case http.StatusNotFound, http.StatusGone:
		code = codeNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		code = codeRefused
	case http.StatusConflict, http.StatusPreconditionFailed:
		code = codeConflict
	}
	return &Error{code, err}
}

// A verb is one or two words, followed by arguments and flags.
type verb struct {
	name, words, help string
	timeout           time.Duration // 0: none
	prepare           func(c *command) action
}

// An action is what a verb does after its flags and arguments are read.
type action func(ctx context.Context, api *client.Client, words []string) error

const (
	short = 30 * time.Second
	long  = 5 * time.Minute
)

func verbs() []verb {
	return []verb{
		{"list", "", "list workspaces, newest first", short, list},
		{"get", "WORKSPACE", "show a workspace", short, get},
		{"create", "NAME", "create a workspace and print its id", short, create},
		{"rename", "WORKSPACE NAME", "give a workspace another name", short, rename},
		{"set", "WORKSPACE", "change a workspace's name, parent, labels or idle time", short, set},
		{"delete", "WORKSPACE", "delete a workspace", short, remove},
		{"start", "WORKSPACE", "start a workspace", long, start},
		{"pause", "WORKSPACE", "stop a workspace until someone starts it", long, pause},
		{"hibernate", "WORKSPACE", "stop a workspace until a message arrives for it", long, hibernate},
		{"restart", "WORKSPACE", "stop a workspace and start it again", long, restart},
		{"transitions", "WORKSPACE", "list a workspace's changes of state, newest first", short, transitions},
		{"logs", "WORKSPACE", "print what a workspace's agent printed", 0, logs},
		{"events", "", "print events, oldest first", 0, events},
		{"templates", "", "list templates, with the errors in each", short, templates},
		{"peers", "WORKSPACE", "list the peers of a workspace", short, peers},
		{"secrets list", "", "list the names of secrets", short, listSecrets},
		{"secrets set", "NAME", "set a secret to the text of standard input", short, setSecret},
		{"secrets delete", "NAME", "delete a secret", short, deleteSecret},
		{"token create", "", "create a token and print its secret, this once", short, createToken},
		{"token list", "", "list tokens, newest first", short, listTokens},
		{"token revoke", "ID", "revoke a token for good", short, revokeToken},
		{"login", "", "remember a server and the token in standard input", short, login},
	}
}

// Run runs a command line, given without the program's name. It fails with *Error.
func Run(ctx context.Context, args []string, t Terminal) error {
	if len(args) == 0 {
		_, err := io.WriteString(t.Err, help())
		return errors.Join(errorf(codeUsage, "the verb is missing: choose one of these"), err)
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		_, err := io.WriteString(t.Out, help())
		return err
	}
	for _, v := range verbs() {
		name := strings.Fields(v.name)
		if len(args) < len(name) || strings.Join(args[:len(name)], " ") != v.name {
			continue
		}
		err := newCommand(t, v, args[len(name):]).run(ctx)
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return coded(err)
	}
	return errorf(codeUsage, "the verb %q is unknown: '%s -h' lists all verbs", args[0], program)
}

func help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s VERB\n\n", program)
	for _, v := range verbs() {
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(v.name+" "+v.words), v.help)
	}
	fmt.Fprintf(&b, `
'%s VERB -h' lists a verb's flags. WORKSPACE is the id, the name or the
beginning of the id of exactly one workspace.

Exit codes: 0 done; 1 failed; 2 wrong usage, or a name of several workspaces;
3 not found; 4 refused, or no token; 5 in conflict with what exists, or changed
meanwhile.

The server and the token come from --server and --token-file, else from these
variables, else from 'login', else from the server of this machine:

`, program)
	b.WriteString(config.ClientTable())
	return b.String()
}
