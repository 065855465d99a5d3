package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"
)

// send sends a request and validates it and its answer. It returns what the
// document calls it.
func (c call) send(t *testing.T, client *http.Client, v validator.Validator, url, token string) (status int, body, operation string) {
	t.Helper()
	method, path, _ := strings.Cut(c.request, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	switch {
	case method == http.MethodPatch:
		req.Header.Set("Content-Type", "application/merge-patch+json")
	case strings.Contains(path, "/files/"):
		req.Header.Set("Content-Type", "application/octet-stream")
	case c.body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	if name, value, ok := strings.Cut(c.header, ": "); ok {
		req.Header.Set(name, value)
	}
	sent := req.Clone(t.Context()) // whose body the validator may read
	sent.Body = io.NopCloser(strings.NewReader(c.body))
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	check := func(what string, ok bool, errs []*errors.ValidationError) {
		for _, err := range errs {
			t.Errorf("%s %s: the %s is not as described: %s: %s", c.request, c.body, what, err.Message, err.Reason)
			for _, detail := range err.SchemaValidationErrors {
				t.Errorf("  %s at %s", detail.Reason, detail.KeywordLocation)
			}
		}
		if !ok && len(errs) == 0 {
			t.Errorf("%s: the %s is not as described", c.request, what)
		}
	}
	ok, errs := v.ValidateHttpRequest(sent)
	check("request", ok, errs)
	ok, errs = v.GetResponseBodyValidator().ValidateResponseBody(sent, resp)
	check("answer", ok, errs)
	return resp.StatusCode, string(text), method + " " + template(path)
}

// template returns a path as the document has it.
func template(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		switch before := parts[max(0, i-1)]; {
		case before == "peers":
			parts[i] = "{peer}"
		case before == "files":
			parts[i] = "{path}"
		case before == "secrets", before == "plugins":
			parts[i] = "{name}"
		case strings.HasPrefix(part, "ws_"), strings.HasPrefix(part, "tok_"):
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

func idOf(t *testing.T, body string) string {
	t.Helper()
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || made.ID == "" {
		t.Fatalf("%s has no id: %v", body, err)
	}
	return made.ID
}
