package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode reads the text of the file name strictly: an unknown key is a problem.
// It returns all problems, with their lines where it can.
func decode(text []byte, name string, into any) []string {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return explain(name, err)
	}
	var extra yaml.Node
	if err := dec.Decode(&extra); !errors.Is(err, io.EOF) {
		return []string{name + " holds more than one document"}
	}
	return nil
}

// explain returns the decoder's errors without the names of Go types.
func explain(name string, err error) []string {
	if errors.Is(err, io.EOF) {
		return []string{name + " is empty"}
	}
	typeErr, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var all []string
	for _, text := range typeErr.Errors {
		if before, rest, ok := strings.Cut(text, "field "); ok {
			if key, _, ok := strings.Cut(rest, " not found in type "); ok {
				text = before + fmt.Sprintf("unknown key %q", key)
			}
		}
		if before, rest, ok := strings.Cut(text, "cannot unmarshal "); ok {
			if what, goType, ok := strings.Cut(rest, " into "); ok {
				text = before + fmt.Sprintf("%s is not %s", what, inWords(goType))
			}
		}
		all = append(all, text)
	}
	return all
}

func inWords(goType string) string {
	switch {
	case goType == "string":
		return "a text"
	case goType == "int":
		return "a number"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	default:
		return "a mapping"
	}
}
