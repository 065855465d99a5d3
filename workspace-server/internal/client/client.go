// Package client calls a server's API over HTTP: typed calls, errors with the
// server's own words, and streams that continue where they were cut.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// maxAnswer bounds an answer that the client reads as a whole, in bytes.
const maxAnswer = 64 << 20

// Client calls one server with one token.
type Client struct {
	base      *url.URL
	token     string
	transport *http.Transport
	retry     retrier
}

// New returns a client of the server at an address that config.CheckServer accepts.
// The client calls told, with the reason, before it tries a call again.
func New(address, token string, told func(why error)) (*Client, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("read the server's address: %w", err)
	}
	return &Client{base: base, token: token, transport: newTransport(), retry: retrier{pause: pause, told: told}}, nil
}

// Document is a value and the JSON that it was read from, which may hold more than
// this client knows of.
type Document[T any] struct {
	Value T
	JSON  json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Document[T]) UnmarshalJSON(text []byte) error {
	d.JSON = bytes.Clone(text)
	return json.Unmarshal(text, &d.Value)
}

// MarshalJSON implements json.Marshaler.
func (d Document[T]) MarshalJSON() ([]byte, error) { return d.JSON, nil }

// Page is one page of a list, or several together. Next is the cursor of the page
// that follows, empty after the last.
type Page[T any] struct {
	Items []Document[T] `json:"items"`
	Next  string        `json:"next"`
}

// maxPage is the greatest page that the server accepts.
const maxPage = 200

// call is a request to the API.
type call struct {
	method string
	path   []string // its parts, not yet escaped
	query  url.Values
	header http.Header
	body   any // nil: none
}

// request fails only on a body that cannot be JSON.
func (c *Client) request(ctx context.Context, in call) (*http.Request, error) {
	escaped := []string{"v1"}
	for _, part := range in.path {
		escaped = append(escaped, url.PathEscape(part))
	}
	address := c.base.JoinPath(escaped...)
	address.RawQuery = in.query.Encode()
	var body io.Reader
	if in.body != nil {
		text, err := json.Marshal(in.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, in.method, address.String(), body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, in.header)
	if in.body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", "workspace-server-ws")
	return req, nil
}

// open sends a call and returns an answer of success, whose body the caller closes.
// The answer may be silent for the given time. It fails with *Error and with
// *Unreachable.
func (c *Client) open(ctx context.Context, in call, silence time.Duration) (*http.Response, error) {
	req, err := c.request(ctx, in)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(req, silence)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	return nil, errors.Join(errorOf(resp), resp.Body.Close())
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &Unreachable{Server: c.base.String(), Err: err}
}

// do sends a call and reads the answer into a value unless that is nil.
func (c *Client) do(ctx context.Context, in call, into any) error {
	resp, err := c.open(ctx, in, forever)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return c.unreachable(ctx, err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s did not answer as workspace-server does: check the address: %w", c.base, err)
	}
	return nil
}

// list follows the cursors until the last page or, if limit is above 0, until it has
// that many items.
func list[T any](ctx context.Context, c *Client, in call, limit int) (Page[T], error) {
	all := Page[T]{Items: []Document[T]{}}
	query := url.Values{}
	maps.Copy(query, in.query)
	in.query = query
	for {
		size := maxPage
		if limit > 0 {
			size = min(size, limit-len(all.Items))
		}
		in.query.Set("limit", fmt.Sprint(size))
		var page Page[T]
		if err := c.do(ctx, in, &page); err != nil {
			return all, err
		}
		all.Items = append(all.Items, page.Items...)
		all.Next = page.Next
		if page.Next == "" || limit > 0 && len(all.Items) >= limit {
			return all, nil
		}
		in.query.Set("cursor", page.Next)
	}
}
