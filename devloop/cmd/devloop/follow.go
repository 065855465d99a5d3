package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"devloop/internal/control"
	"devloop/internal/report"
)

// follow prints what the loop prints until the loop ends.
func follow(ctx context.Context, args []string, getenv func(string) string, std streams) error {
	if helpWanted(args) {
		fmt.Fprintln(std.out, "usage: devloop follow")
		return nil
	}
	var place []string // at first: how it stands
	for {
		reply, err := ask(ctx, getenv, control.Follow, place)
		switch {
		case ctx.Err() != nil || errors.Is(err, control.ErrEnded):
			return nil
		case err != nil && place != nil && errors.Is(err, control.ErrNoLoop):
			return nil
		case err != nil:
			return err
		}
		if err := outcome(reply); err != nil {
			return err
		}
		fmt.Fprint(std.out, reply.Text)
		place = []string{strconv.FormatInt(reply.Next, 10)}
	}
}

// printed answers one question of follow. The first answer is how it stands: the
// lines that told it may have been printed long ago.
func (a *answerer) printed(ctx context.Context, args []string) control.Reply {
	p := a.printer
	if len(args) == 0 {
		next := p.End()
		s := a.loop.Status()
		return control.Reply{Text: report.Now(a.options.announce, s.PID, s.Failure), Next: next}
	}
	place, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return control.Reply{Code: 2, Error: fmt.Sprintf("%q is not a place in the output", args[0])}
	}
	text, next := p.Since(ctx, place)
	return control.Reply{Text: text, Next: next}
}
