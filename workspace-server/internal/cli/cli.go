// Package cli is the command line of people who use a server: its verbs, their
// flags, and how answers look in a terminal.
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

// program is how the command line begins.
const program = "workspace-server ws"

// Terminal is where a command runs. What it was asked for goes to Out, and
// what else there is to say to Err.
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

// Error ends the program with a code.
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
		return errorf(codeFailed, "interrupted")
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

// A verb is one or two words, which further words and flags follow.
type verb struct {
	name, words, help string
	timeout           time.Duration // 0: none
	prepare           func(c *command) action
}

// An action is what a verb does once its flags and words are read.
type action func(ctx context.Context, api *client.Client, words []string) error

const (
	short = 30 * time.Second
	long  = 5 * time.Minute
)

func verbs() []verb {
	return []verb{
		{"list", "", "list workspaces, newest first", short, list},
		{"get", "WORKSPACE", "show a workspace", short, get},
		{"create", "NAME", "make a workspace, and print its id", short, create},
		{"rename", "WORKSPACE NAME", "give a workspace another name", short, rename},
		{"set", "WORKSPACE", "change a workspace's name, parent and labels", short, set},
		{"delete", "WORKSPACE", "delete a workspace", short, remove},
		{"start", "WORKSPACE", "have a workspace run", long, start},
		{"pause", "WORKSPACE", "stop what runs in a workspace, until it is started", long, pause},
		{"hibernate", "WORKSPACE", "stop what runs in a workspace, until it is called", long, hibernate},
		{"restart", "WORKSPACE", "stop what runs in a workspace, and start it", long, restart},
		{"transitions", "WORKSPACE", "list what became of a workspace, when and why, newest first", short, transitions},
		{"logs", "WORKSPACE", "print what a workspace printed", 0, logs},
		{"events", "", "print what happened, oldest first", 0, events},
		{"templates", "", "list the templates, with what is wrong with each", short, templates},
		{"peers", "WORKSPACE", "list those that a workspace may talk to", short, peers},
		{"secrets list", "", "list the names of secrets", short, listSecrets},
		{"secrets set", "NAME", "set a secret to what standard input holds", short, setSecret},
		{"secrets delete", "NAME", "delete a secret", short, deleteSecret},
		{"token create", "", "make a token, and print its secret, which is told this once", short, createToken},
		{"token list", "", "list tokens, newest first", short, listTokens},
		{"token revoke", "ID", "end a token for good", short, revokeToken},
		{"login", "", "note a server, and the token that standard input holds", short, login},
	}
}

// Run carries out a command line, without the words that it begins with. It
// fails with *Error.
func Run(ctx context.Context, args []string, t Terminal) error {
	if len(args) == 0 {
		_, err := io.WriteString(t.Err, help())
		return errors.Join(errorf(codeUsage, "a verb is missing"), err)
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
	return errorf(codeUsage, "unknown verb %q; '%s -h' lists them", args[0], program)
}

func help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s VERB\n\n", program)
	for _, v := range verbs() {
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(v.name+" "+v.words), v.help)
	}
	fmt.Fprintf(&b, `
'%s VERB -h' lists a verb's flags. WORKSPACE is an id, or the name or
the beginning of the id of one workspace alone.

Exit codes: 0 done, 1 failed, 2 not understood, or said of more than one
workspace, 3 there is no such thing, 4 refused, or no token, 5 in conflict with
what is there, or changed meanwhile.

The server and the token are those of --server and --token-file, else of these
variables, else those that 'login' noted, else those of this machine's server:

`, program)
	b.WriteString(config.ClientTable())
	return b.String()
}
