package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"workspace-server/internal/client"
)

// command is a verb with its flags and arguments.
type command struct {
	Terminal
	verb  verb
	args  []string
	flags *flag.FlagSet

	server, tokenFile string
	limit             time.Duration // for the whole command
	json              bool
	anonymous         bool   // it needs no token
	said              string // last
}

func newCommand(t Terminal, v verb, args []string) *command {
	c := &command{Terminal: t, verb: v, args: args, flags: flag.NewFlagSet(v.name, flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard)
	c.flags.Usage = func() {}
	c.flags.StringVar(&c.server, "server", "", "the `address` of the server")
	c.flags.StringVar(&c.tokenFile, "token-file", "", "the `file` that holds the token; others must not be able to read it")
	c.flags.DurationVar(&c.limit, "timeout", v.timeout, "how `long` the command may take; 0 means no limit")
	return c
}

// run reads the command line and runs the action.
func (c *command) run(ctx context.Context) error {
	do := c.verb.prepare(c)
	words, err := c.parse()
	if err != nil {
		return err
	}
	var api *client.Client
	if !c.anonymous {
		if api, err = c.connect(); err != nil {
			return err
		}
	}
	if c.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.limit)
		defer cancel()
	}
	return do(ctx, api, words)
}

// printsJSON gives the command the flag --json.
func (c *command) printsJSON() {
	c.flags.BoolVar(&c.json, "json", false, "print the server's answer, as JSON")
}

// parse reads flags before, after and between the verb's arguments.
func (c *command) parse() ([]string, error) {
	var words []string
	for args := c.args; ; {
		if err := c.flags.Parse(args); err != nil {
			return nil, c.misuse(err)
		}
		rest := c.flags.Args()
		if len(rest) == 0 {
			break
		}
		if read := len(args) - len(rest); read > 0 && args[read-1] == "--" {
			words = append(words, rest...)
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	want := strings.Fields(c.verb.words)
	if len(words) != len(want) {
		takes := "1 argument"
		if len(want) != 1 {
			takes = fmt.Sprint(len(want), " arguments")
		}
		return nil, c.misuse(fmt.Errorf("it takes %s, not %d", takes, len(words)))
	}
	for i, word := range words {
		if word == "" {
			return nil, c.misuse(fmt.Errorf("%s must not be empty", want[i]))
		}
	}
	return words, nil
}

// misuse returns an error that does not repeat the arguments, one of which may be a
// secret by mistake.
func (c *command) misuse(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		if _, err := io.WriteString(c.Out, c.usage()); err != nil {
			return err
		}
		return flag.ErrHelp
	}
	return errorf(codeUsage, "%s: %w: '%s %s -h' shows its usage", c.verb.name, err, program, c.verb.name)
}

func (c *command) usage() string {
	var b strings.Builder
	line := strings.Join(append([]string{program, c.verb.name}, strings.Fields(c.verb.words)...), " ")
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n  %s\n\nFlags:\n\n", line, c.verb.help)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	c.flags.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		if f.DefValue != "" && f.DefValue != "false" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %s%s %s\t%s\n", dashes, f.Name, value, usage)
	})
	_ = w.Flush() // to a builder
	return b.String()
}

// connect returns a client of the command's server.
func (c *command) connect() (*client.Client, error) {
	address, token, err := c.find()
	if err != nil {
		return nil, err
	}
	return client.New(address, token, func(why error) { c.say("%v; trying again", why) })
}

// say prints a line for the user, unless it equals the previous one.
func (c *command) say(format string, args ...any) {
	text := clean(fmt.Sprintf(format, args...))
	if text == c.said {
		return
	}
	c.said = text
	_, _ = fmt.Fprintln(c.Err, text) // there is nowhere else to report it
}

// printJSON prints one document on one line.
func (c *command) printJSON(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = c.Out.Write(append(text, '\n'))
	return err
}
