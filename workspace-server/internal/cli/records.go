package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"workspace-server/internal/client"
	"workspace-server/internal/secret"
	"workspace-server/internal/token"
)

func templates(c *command) action {
	c.printsJSON()
	return func(ctx context.Context, api *client.Client, _ []string) error {
		all, err := api.Templates(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(all)
		}
		rows := [][]string{{"NAME", "VERSION", "TIER", "RUNTIME", "MODEL", "DESCRIPTION"}}
		for _, item := range all.Items {
			t := item.Value
			text := t.Description
			if len(t.Errors) > 0 {
				text = "cannot be used: " + strings.Join(t.Errors, "; ")
			}
			rows = append(rows, []string{t.Name, t.Version, fmt.Sprint(t.Tier), t.Runtime, t.Model, text})
		}
		return table(c.Out, rows)
	}
}

// placeFlag says which workspaces get a secret.
func (c *command) placeFlag() *string {
	return c.flags.String("workspace", "", "only for this `workspace`; without it, for all")
}

func listSecrets(c *command) action {
	c.printsJSON()
	of := c.placeFlag()
	return func(ctx context.Context, api *client.Client, _ []string) error {
		id, err := idOf(ctx, api, *of)
		if err != nil {
			return err
		}
		all, err := api.Secrets(ctx, id)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(all)
		}
		if len(all.Items) == 0 {
			c.say("there are none")
			return nil
		}
		now := time.Now()
		rows := [][]string{{"NAME", "AGE", "CHANGED"}}
		for _, item := range all.Items {
			rows = append(rows, []string{item.Value.Name, age(item.Value.Created, now), age(item.Value.Updated, now)})
		}
		return table(c.Out, rows)
	}
}

// setSecret reads the value only from standard input: all users of a machine can see
// arguments, and shells store them.
func setSecret(c *command) action {
	of := c.placeFlag()
	return func(ctx context.Context, api *client.Client, words []string) error {
		if err := (secret.Place{Name: words[0]}).Check(); err != nil {
			return &Error{codeUsage, err}
		}
		id, err := idOf(ctx, api, *of)
		if err != nil {
			return err
		}
		value, err := c.input("the value")
		if err != nil {
			return err
		}
		value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r") // echo adds it
		if err := api.SetSecret(ctx, id, words[0], value); err != nil {
			return err
		}
		c.say("set %s to %d bytes", words[0], len(value))
		return nil
	}
}

func deleteSecret(c *command) action {
	of := c.placeFlag()
	return func(ctx context.Context, api *client.Client, words []string) error {
		if err := (secret.Place{Name: words[0]}).Check(); err != nil {
			return &Error{codeUsage, err}
		}
		id, err := idOf(ctx, api, *of)
		if err != nil {
			return err
		}
		if err := api.DeleteSecret(ctx, id, words[0]); err != nil {
			return err
		}
		c.say("deleted %s", words[0])
		return nil
	}
}

func createToken(c *command) action {
	c.printsJSON()
	in := client.NewToken{Role: string(token.Admin)}
	c.flags.StringVar(&in.Name, "name", "", "a `text` to recognise the token by")
	of := c.flags.String("workspace", "", "restrict the token to this `workspace`, for its agent; without it, the token is an administrator's")
	expires := c.flags.Duration("expires", 0, "how `long` the token is valid, such as 720h; 0 means for ever")
	return func(ctx context.Context, api *client.Client, _ []string) error {
		if *expires < 0 || *expires%time.Second != 0 {
			return c.misuse(fmt.Errorf("--expires must be a whole number of seconds, such as 720h"))
		}
		in.ExpiresIn = int64(*expires / time.Second)
		if *of != "" {
			var err error
			in.Role = string(token.Workspace)
			if in.Workspace, err = idOf(ctx, api, *of); err != nil {
				return err
			}
		}
		made, err := api.CreateToken(ctx, in)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(made)
		}
		c.say("created %s", made.Value.ID)
		_, err = fmt.Fprintln(c.Out, made.Value.Secret)
		return err
	}
}

func listTokens(c *command) action {
	c.printsJSON()
	limit := c.flags.Int("limit", 0, "list at most this `number`; 0 means all")
	return func(ctx context.Context, api *client.Client, _ []string) error {
		page, err := api.Tokens(ctx, *limit)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(page)
		}
		now := time.Now()
		rows := [][]string{{"ID", "PREFIX", "NAME", "ROLE", "WORKSPACE", "AGE", "USED", "GOOD"}}
		for _, item := range page.Items {
			t := item.Value
			rows = append(rows, []string{
				t.ID, t.Prefix, t.Name, string(t.Role), t.Workspace, age(t.Created, now), age(t.LastUsed, now), validity(t, now),
			})
		}
		return table(c.Out, rows)
	}
}

func validity(t token.Token, now time.Time) string {
	switch {
	case t.Revoked != 0:
		return "revoked"
	case t.Expires != 0 && t.Expires <= now.UnixMilli():
		return "expired"
	case t.Expires != 0:
		return "for " + span(time.UnixMilli(t.Expires).Sub(now))
	default:
		return "for ever"
	}
}

func revokeToken(c *command) action {
	return func(ctx context.Context, api *client.Client, words []string) error {
		if !token.IsID(words[0]) {
			return c.misuse(fmt.Errorf("the id of a token begins with tok_: '%s token list' shows all", program))
		}
		if err := api.RevokeToken(ctx, words[0]); err != nil {
			return err
		}
		c.say("revoked %s", words[0])
		return nil
	}
}
