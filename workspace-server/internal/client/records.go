package client

import (
	"context"

	"workspace-server/internal/secret"
	"workspace-server/internal/token"
)

// Template is a directory that a workspace begins with.
type Template struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Version     string   `json:"version"`
	Tier        int      `json:"tier"`
	Runtime     string   `json:"runtime"`
	Model       string   `json:"model"`
	Errors      []string `json:"errors"` // if there are any, no workspace can be made from it
}

// List is a list without pages.
type List[T any] struct {
	Items []Document[T] `json:"items"`
}

// Templates lists all templates, with the errors in each.
func (c *Client) Templates(ctx context.Context) (all List[Template], err error) {
	return all, c.do(ctx, call{method: "GET", path: []string{"templates"}}, &all)
}

// secretsOf returns the path of a workspace's own secrets or, if that is empty, of
// those of all workspaces.
func secretsOf(workspace string) []string {
	if workspace == "" {
		return []string{"secrets"}
	}
	return []string{"workspaces", workspace, "secrets"}
}

// Secrets lists secrets without their values.
func (c *Client) Secrets(ctx context.Context, workspace string) (all List[secret.Secret], err error) {
	return all, c.do(ctx, call{method: "GET", path: secretsOf(workspace)}, &all)
}

// SetSecret sets a secret.
func (c *Client) SetSecret(ctx context.Context, workspace, name, value string) error {
	return c.do(ctx, call{method: "PUT", path: append(secretsOf(workspace), name), body: map[string]string{"value": value}}, nil)
}

// DeleteSecret deletes a secret.
func (c *Client) DeleteSecret(ctx context.Context, workspace, name string) error {
	return c.do(ctx, call{method: "DELETE", path: append(secretsOf(workspace), name)}, nil)
}

// NewToken is what a token is made from.
type NewToken struct {
	Name      string `json:"name,omitempty"`
	Role      string `json:"role"`
	Workspace string `json:"workspace,omitempty"`
	ExpiresIn int64  `json:"expires_in,omitempty"` // seconds; 0: never
}

// MadeToken is a new token with its secret, which no later answer contains.
type MadeToken struct {
	token.Token
	Secret string `json:"secret"`
}

// CreateToken creates a token.
func (c *Client) CreateToken(ctx context.Context, in NewToken) (made Document[MadeToken], err error) {
	return made, c.do(ctx, call{method: "POST", path: []string{"tokens"}, body: in}, &made)
}

// Tokens lists all tokens, newest first, or the first limit if that is above 0.
func (c *Client) Tokens(ctx context.Context, limit int) (Page[token.Token], error) {
	return list[token.Token](ctx, c, call{method: "GET", path: []string{"tokens"}}, limit)
}

// RevokeToken ends a token for good.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: "DELETE", path: []string{"tokens", id}}, nil)
}

// Self returns the client's own token.
func (c *Client) Self(ctx context.Context) (self Document[token.Token], err error) {
	return self, c.do(ctx, call{method: "GET", path: []string{"tokens", "self"}}, &self)
}
