package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"workspace-server/internal/client"
	"workspace-server/internal/workspace"
)

// enough ends a stream after as many events as the user asked for.
type enough struct{}

func (enough) Error() string { return "enough" }

func events(c *command) action {
	c.printsJSON()
	follow := c.flags.Bool("f", false, "go on with new events; a lost connection is made again, and no event is missed")
	after := c.flags.Int64("after", client.FromNow, "only events after this `number`; -1 means all or, with -f, only new ones")
	limit := c.flags.Int("limit", 0, "end after this `number` of events; 0 means no limit")
	return func(ctx context.Context, api *client.Client, _ []string) error {
		var err error
		p := &eventPrinter{c: c, list: c.json && !*follow, limit: *limit, last: max(*after, 0)}
		if *follow {
			err = api.Follow(ctx, *after, p.print)
		} else {
			err = api.Events(ctx, p.last, p.print)
		}
		if _, ok := errors.AsType[enough](err); ok || *follow && errors.Is(err, context.Canceled) {
			err = nil
		}
		if err != nil {
			return err
		}
		return p.end()
	}
}

// eventPrinter prints events as they arrive.
type eventPrinter struct {
	c     *command
	list  bool // print one document, as the API does
	limit int
	count int
	last  int64
}

func (p *eventPrinter) print(e client.Event) error {
	p.count++
	p.last = e.Value.Seq
	p.c.said = ""
	if err := p.write(e); err != nil {
		return err
	}
	if p.count == p.limit {
		return enough{}
	}
	return nil
}

func (p *eventPrinter) write(e client.Event) error {
	switch {
	case p.list:
		before := ","
		if p.count == 1 {
			before = `{"items":[`
		}
		_, err := fmt.Fprintf(p.c.Out, "%s%s", before, e.JSON)
		return err
	case p.c.json:
		return p.c.printJSON(e)
	}
	var w workspace.Workspace
	if err := json.Unmarshal(e.Value.Data, &w); err != nil {
		return fmt.Errorf("read event %d: %w", e.Value.Seq, err)
	}
	_, err := fmt.Fprintf(p.c.Out, "%6d  %s  %-18s  %s  %-11s %s\n",
		e.Value.Seq, clock(e.Value.At), clean(e.Value.Type), clean(e.Value.Workspace), clean(string(w.Status.State)), clean(w.Name))
	return err
}

// end completes the document.
func (p *eventPrinter) end() error {
	if !p.list {
		return nil
	}
	if p.count == 0 {
		if _, err := io.WriteString(p.c.Out, `{"items":[`); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(p.c.Out, "],\"last\":%d}\n", p.last)
	return err
}
