package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/client"
	"workspace-server/internal/workspace"
)

// filterFlags adds the flags of a list of workspaces.
func (c *command) filterFlags() (filter *client.Filter, limit *int) {
	filter = &client.Filter{}
	c.flags.StringVar(&filter.State, "state", "", "only workspaces in this `state`")
	c.flags.StringVar(&filter.Parent, "parent", "", "only workspaces right below this `workspace`; none means roots")
	c.flags.StringVar(&filter.Template, "template", "", "only workspaces made from this `template`")
	c.flags.StringVar(&filter.Text, "q", "", "only workspaces with this `text` in their name")
	c.flags.Func("label", "only workspaces with this label, `name or name=value`; repeat it for several", func(label string) error {
		filter.Labels = append(filter.Labels, label)
		return nil
	})
	return filter, c.flags.Int("limit", 0, "list at most this `number`; 0 means all")
}

func list(c *command) action {
	c.printsJSON()
	filter, limit := c.filterFlags()
	return func(ctx context.Context, api *client.Client, _ []string) error {
		var err error
		if filter.Parent, err = parentOf(ctx, api, filter.Parent); err != nil {
			return err
		}
		page, err := api.Workspaces(ctx, *filter, *limit)
		if err != nil {
			return err
		}
		return c.printWorkspaces(page)
	}
}

func peers(c *command) action {
	c.printsJSON()
	filter, limit := c.filterFlags()
	return func(ctx context.Context, api *client.Client, words []string) error {
		id, err := idOf(ctx, api, words[0])
		if err != nil {
			return err
		}
		if filter.Parent, err = parentOf(ctx, api, filter.Parent); err != nil {
			return err
		}
		page, err := api.Peers(ctx, id, *filter, *limit)
		if err != nil {
			return err
		}
		return c.printWorkspaces(page)
	}
}

func (c *command) printWorkspaces(page client.Page[workspace.Workspace]) error {
	if c.json {
		return c.printJSON(page)
	}
	if len(page.Items) == 0 {
		c.say("there are none")
		return nil
	}
	now := time.Now()
	rows := [][]string{{"ID", "NAME", "STATE", "TEMPLATE", "PARENT", "LABELS", "AGE"}}
	for _, item := range page.Items {
		w := item.Value
		rows = append(rows, []string{w.ID, w.Name, string(w.Status.State), w.Template, w.Parent, labelsText(w.Labels), age(w.Created, now)})
	}
	return table(c.Out, rows)
}

func (c *command) printWorkspace(found client.Workspace) error {
	if c.json {
		return c.printJSON(found)
	}
	w, now := found.Value, time.Now()
	since := func(ms int64) string { return fmt.Sprintf("%s  (%s ago)", clock(ms), age(ms, now)) }
	return table(c.Out, [][]string{
		{"id", w.ID},
		{"name", w.Name},
		{"state", fmt.Sprintf("%s  (%s, %s ago)", w.Status.State, w.Status.Reason, age(w.Status.Since, now))},
		{"message", w.Status.Message},
		{"desired", string(w.Desired)},
		{"template", w.Template},
		{"parent", w.Parent},
		{"labels", labelsText(w.Labels)},
		{"revision", fmt.Sprint(w.Revision)},
		{"created", since(w.Created)},
		{"updated", since(w.Updated)},
	})
}

func get(c *command) action {
	c.printsJSON()
	return func(ctx context.Context, api *client.Client, words []string) error {
		found, err := lookUp(ctx, api, words[0])
		if err != nil {
			return err
		}
		return c.printWorkspace(found)
	}
}

func create(c *command) action {
	c.printsJSON()
	var spec client.Spec
	c.flags.StringVar(&spec.Template, "template", "", "the `template` to begin with")
	c.flags.StringVar(&spec.Parent, "parent", "", "the `workspace` to put it below")
	c.flags.Func("label", "a label, as `name=value`; repeat it for several", func(label string) error {
		return addLabel(&spec.Labels, label)
	})
	c.flags.Int64Var(&spec.IdleMinutes, "idle", 0, "hibernate it after this many `minutes` without activity; 0 means never")
	key := c.flags.String("key", "", "a `text` that names this one workspace: a repeated command with it creates no second one")
	starts := c.flags.Bool("start", false, "start it at once")
	wait := c.flags.Bool("wait", false, "with --start: wait until it runs")
	return func(ctx context.Context, api *client.Client, words []string) error {
		if *wait && !*starts {
			return c.misuse(errors.New("--wait needs --start"))
		}
		spec.Name = words[0]
		var err error
		if spec.Parent, err = idOf(ctx, api, spec.Parent); err != nil {
			return err
		}
		if *starts {
			spec.Desired = client.Running
		}
		made, err := api.Create(ctx, spec, cmp.Or(*key, rand.Text()))
		if err != nil {
			return err
		}
		if !c.json {
			if _, err := fmt.Fprintln(c.Out, made.Value.ID); err != nil {
				return err
			}
		}
		if *wait {
			if made, err = c.await(ctx, api, made, awaited{state: client.Running}); err != nil {
				return err
			}
		}
		if c.json {
			return c.printJSON(made)
		}
		return nil
	}
}

func addLabel(labels *map[string]string, text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found {
		return errors.New("it must be name=value")
	}
	if *labels == nil {
		*labels = map[string]string{}
	}
	(*labels)[name] = value
	return nil
}

// revisionFlag lets a change depend on what the user saw earlier.
func (c *command) revisionFlag() *int64 {
	return c.flags.Int64("revision", 0, "only if the workspace is still at this revision; 0 means any")
}

// update changes the workspace that a text names. It fails if the workspace changes
// between the look-up and the update.
func (c *command) update(ctx context.Context, api *client.Client, text string, revision int64, patch map[string]any) error {
	found, err := lookUp(ctx, api, text)
	if err != nil {
		return err
	}
	updated, err := api.Update(ctx, found.Value.ID, cmp.Or(revision, found.Value.Revision), patch)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(updated)
	}
	c.say("%s is at revision %d", updated.Value.Name, updated.Value.Revision)
	return nil
}

func rename(c *command) action {
	c.printsJSON()
	revision := c.revisionFlag()
	return func(ctx context.Context, api *client.Client, words []string) error {
		return c.update(ctx, api, words[0], *revision, map[string]any{"name": words[1]})
	}
}

func set(c *command) action {
	c.printsJSON()
	revision := c.revisionFlag()
	patch, labels := map[string]any{}, map[string]any{}
	c.flags.Func("name", "the new `name`", func(name string) error { patch["name"] = name; return nil })
	c.flags.Func("parent", "the `workspace` to put it below; none makes it a root", func(parent string) error { patch["parent"] = parent; return nil })
	c.flags.Func("label", "a label, as `name=value`; repeat it for several", func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return errors.New("it must be name=value")
		}
		labels[name] = value
		return nil
	})
	c.flags.Func("no-label", "the `name` of a label to remove; repeat it for several", func(name string) error { labels[name] = nil; return nil })
	c.flags.Func("idle", "hibernate it after this many `minutes` without activity; 0 means never", func(text string) error {
		minutes, err := strconv.ParseInt(text, 10, 64)
		patch["idle_minutes"] = minutes
		return err
	})
	return func(ctx context.Context, api *client.Client, words []string) error {
		if len(labels) > 0 {
			patch["labels"] = labels
		}
		if len(patch) == 0 {
			return c.misuse(errors.New("nothing is to change: give --name, --parent, --label, --no-label or --idle"))
		}
		if parent, ok := patch["parent"].(string); ok {
			id, err := parentOf(ctx, api, parent)
			if err != nil {
				return err
			}
			patch["parent"] = id
			if id == workspace.NoParent || id == "" {
				patch["parent"] = nil
			}
		}
		return c.update(ctx, api, words[0], *revision, patch)
	}
}

func remove(c *command) action {
	revision := c.revisionFlag()
	children := c.flags.String("children", "", "what to do with the workspaces below: `refuse`, cascade or orphan (the server's default is refuse)")
	volumes := c.flags.String("volumes", "", "what to do with the agent's data: `keep` or delete (the server's default is delete)")
	return func(ctx context.Context, api *client.Client, words []string) error {
		found, err := lookUp(ctx, api, words[0])
		if err != nil {
			return err
		}
		if err := api.Delete(ctx, found.Value.ID, *revision, *children, *volumes); err != nil {
			return err
		}
		c.say("deleted %s (%s)", found.Value.Name, found.Value.ID)
		return nil
	}
}
