package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"workspace-server/internal/workspace"
)

const maxBody = 64 << 10

// decode reads a JSON body strictly: one value, no unknown fields. It also returns
// the bytes.
func decode(w http.ResponseWriter, r *http.Request, into any) ([]byte, error) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		return nil, err
	}
	return body, unmarshal(body, into)
}

// readBody reads a text of a content type, which it requires: a browser sends a
// request of this type to another origin only after that origin allowed it.
func readBody(w http.ResponseWriter, r *http.Request, contentType string) ([]byte, error) {
	return readBodyUpTo(w, r, contentType, maxBody)
}

// readBodyUpTo is readBody with another limit.
func readBodyUpTo(w http.ResponseWriter, r *http.Request, contentType string, limit int64) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != contentType {
		return nil, bad(http.StatusUnsupportedMediaType, "Send JSON, with the header Content-Type: "+contentType+".")
	}
	body, err := readBytes(w, r, limit)
	if err == nil && !utf8.Valid(body) {
		err = workspace.Errorf(workspace.Invalid, "The body is not valid UTF-8. Encode it again.")
	}
	return body, err
}

// readBytes reads a body of at most limit bytes.
func readBytes(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, bad(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d KiB. Send less.", limit>>10))
	}
	if err != nil {
		return nil, workspace.Errorf(workspace.Invalid, "The body did not arrive whole and in time. Send it again, faster.")
	}
	return body, nil
}

func unmarshal(body []byte, into any) error {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return workspace.Errorf(workspace.Invalid, "%s", explain(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return workspace.Errorf(workspace.Invalid, "The body holds more than one JSON value. Send one object.")
	}
	return nil
}

// explain says what is wrong with a body without naming Go types.
func explain(err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("The body is not JSON: %v, at byte %d.", e, e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return fmt.Sprintf("The body is a JSON %s. Send an object.", e.Value)
		}
		return fmt.Sprintf("The field %q must not be a JSON %s.", e.Field, e.Value)
	}
	switch {
	case errors.Is(err, io.EOF):
		return "The body is empty. Send a JSON object."
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "The body ends in the middle of a JSON value. Send it whole."
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Sprintf("The field %s is unknown. Correct it, or leave it out.", field)
	}
	return "The body is not the JSON that this route accepts. See /docs."
}

// query returns the request's parameters. It fails on an unknown one, and on one
// that is given twice although it is not in often: a typo must not change the meaning
// of an answer.
func query(r *http.Request, often []string, once ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, workspace.Errorf(workspace.Invalid, "The query cannot be read. Encode it again.")
	}
	for name, given := range values {
		switch {
		case slices.Contains(often, name):
		case len(once)+len(often) == 0:
			return nil, workspace.Errorf(workspace.Invalid, "The parameter %q is unknown. This route has no parameters.", name)
		case !slices.Contains(once, name):
			return nil, workspace.Errorf(workspace.Invalid, "The parameter %q is unknown. Use one of: %s.",
				name, strings.Join(append(once, often...), ", "))
		case len(given) > 1:
			return nil, workspace.Errorf(workspace.Invalid, "The parameter %q is given twice. Give it once.", name)
		}
	}
	return values, nil
}

// number returns a parameter from lowest to highest, or fallback without one.
func number(values url.Values, name string, fallback, lowest, highest int64) (int64, error) {
	text := values.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < lowest || n > highest {
		return 0, workspace.Errorf(workspace.Invalid, "The parameter %q must be a number from %d to %d.", name, lowest, highest)
	}
	return n, nil
}
