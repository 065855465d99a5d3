package cli

import (
	"context"
	"errors"
	"fmt"

	"workspace-server/internal/client"
	"workspace-server/internal/workspace"
)

func start(c *command) action {
	return c.act(awaited{state: client.Running})
}

func pause(c *command) action { return c.act(awaited{state: client.Paused}) }

func hibernate(c *command) action {
	return c.act(awaited{state: client.Hibernated})
}

// A workspace may still run when its restart begins, so only a new start counts.
func restart(c *command) action {
	return c.act(awaited{state: client.Running, anew: true})
}

// awaited is the state that an action leads to.
type awaited struct {
	state workspace.State
	anew  bool  // the state must have begun after since
	since int64 // when the previous state began, in epoch milliseconds
}

// by reports whether a workspace reached the state, or failed.
func (a awaited) by(w workspace.Workspace) bool {
	changed := w.Status.Since > a.since
	return w.Status.State == a.state && (changed || !a.anew) || w.Status.State == client.Failed && changed
}

// act requests the verb's action.
func (c *command) act(a awaited) action {
	c.printsJSON()
	revision := c.revisionFlag()
	wait := c.flags.Bool("wait", false, "wait until the workspace is "+string(a.state)+" or failed")
	return func(ctx context.Context, api *client.Client, words []string) error {
		before, err := lookUp(ctx, api, words[0])
		if err != nil {
			return err
		}
		a.since = before.Value.Status.Since
		noted, err := api.Act(ctx, before.Value.ID, c.verb.name, *revision)
		if err != nil {
			return err
		}
		if *wait {
			if noted, err = c.await(ctx, api, noted, a); err != nil {
				return err
			}
		} else {
			c.say("%s is %s", noted.Value.Name, noted.Value.Status.State)
		}
		if c.json {
			return c.printJSON(noted)
		}
		return nil
	}
}

// await waits until a workspace reached a state, and fails if the workspace failed.
func (c *command) await(ctx context.Context, api *client.Client, w client.Workspace, a awaited) (client.Workspace, error) {
	told := func(now workspace.Workspace) bool {
		c.say("%s is %s", now.Name, now.Status.State)
		return a.by(now)
	}
	found := w
	if !told(w.Value) {
		var err error
		found, err = api.Await(ctx, w.Value.ID, told)
		if errors.Is(err, context.DeadlineExceeded) {
			return found, errorf(codeFailed, "%s is not %s after %v: wait longer with --timeout", w.Value.Name, a.state, c.limit)
		}
		if err != nil {
			return found, err
		}
	}
	if s := found.Value.Status; s.State != a.state {
		return found, errorf(codeFailed, "%s failed: %s", found.Value.Name, clean(s.Message))
	}
	return found, nil
}

func transitions(c *command) action {
	c.printsJSON()
	limit := c.flags.Int("limit", 0, "list at most this `number`; 0 means all")
	return func(ctx context.Context, api *client.Client, words []string) error {
		id, err := idOf(ctx, api, words[0])
		if err != nil {
			return err
		}
		page, err := api.Transitions(ctx, id, *limit)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(page)
		}
		if len(page.Items) == 0 {
			c.say("there are none")
			return nil
		}
		rows := [][]string{{"AT", "FROM", "TO", "REASON", "BY", "REVISION", "MESSAGE"}}
		for _, item := range page.Items {
			t := item.Value
			rows = append(rows, []string{clock(t.At), string(t.From), string(t.To), t.Reason, t.By, fmt.Sprint(t.Revision), t.Message})
		}
		return table(c.Out, rows)
	}
}

func logs(c *command) action {
	follow := c.flags.Bool("f", false, "go on with new lines")
	tail := c.flags.Int("tail", -1, "only this many of the last `lines`; -1 means all")
	return func(ctx context.Context, api *client.Client, words []string) error {
		id, err := idOf(ctx, api, words[0])
		if err != nil {
			return err
		}
		err = api.Logs(ctx, id, *tail, *follow, c.Out)
		if *follow && errors.Is(err, context.Canceled) {
			return nil // the user ends it so
		}
		return err
	}
}
