// Package openapi holds the description of the API (OpenAPI 3.1), and makes a
// page of it for people. What it says is held against the API by tests there.
package openapi

import (
	_ "embed"
	"encoding/json"
	"strings"
)

// Document is the description as it is served.
//
//go:embed openapi.json
var Document string

// A description is what the page needs of the document.
type description struct {
	Info struct {
		Title       string `json:"title"`
		Description string `json:"description"`
	} `json:"info"`
	Tags []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"tags"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas    map[string]schema    `json:"schemas"`
		Parameters map[string]parameter `json:"parameters"`
	} `json:"components"`
}

type operation struct {
	Tags        []string               `json:"tags"`
	Summary     string                 `json:"summary"`
	Description string                 `json:"description"`
	Access      string                 `json:"x-access"`
	Parameters  []parameter            `json:"parameters"`
	Body        *content               `json:"requestBody"`
	Responses   map[string]contentOrIt `json:"responses"`
}

type parameter struct {
	Ref         string `json:"$ref"`
	Name        string `json:"name"`
	In          string `json:"in"`
	Description string `json:"description"`
	Schema      schema `json:"schema"`
}

type content struct {
	Description string `json:"description"`
	Content     map[string]struct {
		Schema schema `json:"schema"`
	} `json:"content"`
}

type contentOrIt struct {
	Ref string `json:"$ref"`
	content
}

type schema struct {
	Ref         string            `json:"$ref"`
	Type        any               `json:"type"` // a name, or several
	Description string            `json:"description"`
	Enum        []string          `json:"enum"`
	Properties  map[string]schema `json:"properties"`
	Required    []string          `json:"required"`
	Items       *schema           `json:"items"`
	Default     any               `json:"default"`
}

func parse() (description, error) {
	var d description
	err := json.Unmarshal([]byte(Document), &d)
	return d, err
}

// last returns what a reference ends with.
func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }
