package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"workspace-server/internal/catalog"
	"workspace-server/internal/files"
	"workspace-server/internal/openapi"
	"workspace-server/internal/secret"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// document is the part of the API's description that the tests compare with the code.
type document struct {
	Paths map[string]map[string]struct {
		OperationID string           `json:"operationId"`
		Access      access           `json:"x-access"`
		Security    []map[string]any `json:"security"`
		Parameters  []struct {
			Ref string `json:"$ref"`
		} `json:"parameters"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any
			Required   []string
			Enum       []string
		}
		Parameters map[string]struct{ Name, In string }
	}
}

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(openapi.Document), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDocumentRoutes compares each route, and who may use it, with the document.
func TestDocumentRoutes(t *testing.T) {
	d := readDocument(t)
	ids := map[string]string{}
	told := map[string]access{}
	for path, operations := range d.Paths {
		for method, o := range operations {
			pattern := strings.ToUpper(method) + " " + path
			told[pattern] = o.Access
			if other := ids[o.OperationID]; other != "" || o.OperationID == "" {
				t.Errorf("%s has the operationId %q, which %s has too", pattern, o.OperationID, other)
			}
			ids[o.OperationID] = pattern
			if (len(o.Security) == 0) != (o.Access == public) {
				t.Errorf("%s has access %s and security %v", pattern, o.Access, o.Security)
			}
			var inPath []string
			for _, p := range o.Parameters {
				known, ok := d.Components.Parameters[p.Ref[strings.LastIndexByte(p.Ref, '/')+1:]]
				if !ok {
					t.Errorf("%s has the parameter %s, which is not there", pattern, p.Ref)
				}
				if known.In == "path" {
					inPath = append(inPath, "{"+known.Name+"}")
				}
			}
			rest := path
			for _, name := range inPath {
				rest = strings.Replace(rest, name, "", 1)
			}
			if strings.Contains(rest, "{") {
				t.Errorf("%s has the parameters %v, and not all of its path", pattern, inPath)
			}
		}
	}
	served := map[string]access{}
	for _, r := range (&api{}).routes() {
		served[documented(r.pattern)] = r.access
	}
	if !maps.Equal(told, served) {
		t.Errorf("the document has\n%v\nwant the routes\n%v", told, served)
	}
}

// documented returns a pattern in the form of the document, which has no parameters
// with slashes.
func documented(pattern string) string { return strings.ReplaceAll(pattern, "...}", "}") }

// TestDocumentSchemas compares the fields of answers with the document.
func TestDocumentSchemas(t *testing.T) {
	d := readDocument(t)
	for name, value := range map[string]any{
		"Workspace":      workspace.Workspace{},
		"Status":         workspace.Status{},
		"Transition":     workspace.Transition{},
		"TransitionPage": page[workspace.Transition]{},
		"WorkspacePage":  page[workspace.Workspace]{},
		"Event":          workspace.Event{},
		"EventPage":      eventPage{},
		"Template":       catalog.Template{},
		"Token":          token.Token{},
		"MadeToken":      made{},
		"TokenPage":      page[token.Token]{},
		"Secret":         secret.Secret{},
		"Ready":          ready{},
		"Agent":          workspace.Agent{},
		"Registration":   workspace.Registration{},
		"Heartbeat":      workspace.Heartbeat{},
		"Leased":         leased{},
		"Problem":        problem{},
		"File":           files.File{},
		"FileList":       files.Listing{},
		"Plugin":         catalog.Plugin{},
		"Attachment":     attached{},
	} {
		fields := map[string]bool{} // and whether it is always there
		addFields(fields, reflect.TypeOf(value))
		s := d.Components.Schemas[name]
		if got, want := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
			t.Errorf("schema %s has the properties %v, want %v", name, got, want)
		}
		maps.DeleteFunc(fields, func(_ string, always bool) bool { return !always })
		slices.Sort(s.Required)
		if want := slices.Sorted(maps.Keys(fields)); !slices.Equal(s.Required, want) {
			t.Errorf("schema %s requires %v, want %v", name, s.Required, want)
		}
	}
	var states []string
	for _, s := range workspace.States() {
		states = append(states, string(s))
	}
	if got := d.Components.Schemas["State"].Enum; !slices.Equal(got, states) {
		t.Errorf("the states are %v, want %v", got, states)
	}
	kinds := []string{}
	for _, k := range workspace.Kinds() {
		kinds = append(kinds, string(k))
	}
	var problem struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct{ Kind struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(openapi.Document), &problem); err != nil {
		t.Fatal(err)
	}
	if got := problem.Components.Schemas.Problem.Properties.Kind.Enum; !slices.Equal(got, kinds) {
		t.Errorf("the kinds of problems are %v, want %v", got, kinds)
	}
}

func addFields(fields map[string]bool, of reflect.Type) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			addFields(fields, f.Type)
		case f.IsExported():
			fields[name] = !strings.Contains(options, "omitempty")
		}
	}
}

// TestAccessHasWords checks that the page about the API tells every kind of access
// apart.
func TestAccessHasWords(t *testing.T) {
	seen := map[string]string{}
	for _, kind := range constants(t, "auth.go", "access") {
		words := access(kind).words()
		if other, twice := seen[words]; words == "" || twice {
			t.Errorf("access %q has the words %q, which %q has too", kind, words, other)
		}
		seen[words] = kind
	}
	if _, err := openapi.Page(func(string) string { return "" }); err == nil {
		t.Error("Page succeeds although no kind of access has words")
	}
}

// TestDocumentWords checks that every description is a sentence.
func TestDocumentWords(t *testing.T) {
	var d map[string]any
	if err := json.Unmarshal([]byte(openapi.Document), &d); err != nil {
		t.Fatal(err)
	}
	components := d["components"].(map[string]any)
	describe := func(what string, of any) map[string]any {
		node := of.(map[string]any)
		text, _ := node["description"].(string)
		if _, isRef := node["$ref"]; !isRef && (len(strings.Fields(text)) < 4 || !strings.HasSuffix(text, ".")) {
			t.Errorf("%s has the description %q, want a sentence of at least four words", what, text)
		}
		return node
	}
	var properties func(what string, schema map[string]any)
	properties = func(what string, schema map[string]any) {
		for name, of := range asMap(schema["properties"]) {
			properties(what+"."+name, describe(what+"."+name, of))
		}
	}
	for name, of := range asMap(components["schemas"]) {
		properties(name, describe("schema "+name, of))
	}
	for _, kind := range []string{"parameters", "responses", "securitySchemes"} {
		for name, of := range asMap(components[kind]) {
			describe(kind+" "+name, of)
		}
	}
	for _, tag := range d["tags"].([]any) {
		describe("a tag", tag)
	}
	for path, methods := range asMap(d["paths"]) {
		for method, of := range asMap(methods) {
			operation, what := of.(map[string]any), method+" "+path
			if summary, _ := operation["summary"].(string); len(strings.Fields(summary)) < 2 {
				t.Errorf("%s has the summary %q", what, summary)
			}
			if operation["description"] != nil {
				describe(what, of)
			}
			if body := operation["requestBody"]; body != nil {
				describe(what+" body", body)
			}
			for status, response := range asMap(operation["responses"]) {
				for name, header := range asMap(describe(what+" "+status, response)["headers"]) {
					describe(what+" "+status+" "+name, header)
				}
			}
		}
	}
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// TestDocumentForGenerators checks what generators of code need: names that differ by
// more than case, and one kind of value in each place.
func TestDocumentForGenerators(t *testing.T) {
	var d map[string]any
	if err := json.Unmarshal([]byte(openapi.Document), &d); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for kind, of := range asMap(d["components"]) {
		for name := range asMap(of) {
			folded := strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
			if other := names[folded]; other != "" {
				t.Errorf("%s %s has the same name as %s", kind, name, other)
			}
			names[folded] = kind + " " + name
		}
	}
	var types func(where string, node any)
	types = func(where string, node any) {
		switch node := node.(type) {
		case map[string]any:
			if list, ok := node["type"].([]any); ok {
				list = slices.DeleteFunc(slices.Clone(list), func(name any) bool { return name == "null" })
				if len(list) != 1 {
					t.Errorf("%s has the type %v, want one kind besides null", where, node["type"])
				}
			}
			for name, of := range node {
				types(where+"/"+name, of)
			}
		case []any:
			for i, of := range node {
				types(fmt.Sprint(where, "/", i), of)
			}
		}
	}
	types("", d)
}

func TestPage(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		got := a.do(http.MethodGet, "/docs", "", "Authorization: ")
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || got.header.Get("Content-Security-Policy") == "" {
			t.Errorf("GET /docs = %d of type %s", got.status, got.header.Get("Content-Type"))
		}
		for _, r := range (&api{}).routes() {
			title := "<code>" + documented(r.pattern) + "</code> <span class=\"access\">" + r.access.words() + "</span>"
			if !strings.Contains(got.body, title) {
				t.Errorf("GET /docs lacks %s", title)
			}
		}
		if strings.Contains(got.body, "%!") || strings.Contains(got.body, "<nil>") {
			t.Error("GET /docs has a fault of formatting")
		}
		if got := a.do(http.MethodGet, "/openapi.json", "", "Authorization: "); got.status != 200 || got.body != openapi.Document {
			t.Errorf("GET /openapi.json = %d, %d bytes, want the document", got.status, len(got.body))
		}
	})
}
