package api

import (
	"encoding/json"
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

// document is the API's description, as far as it is held against the code.
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

// TestDocumentRoutes holds each route, and who may use it, against the document.
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

// documented returns a pattern as the document has it, which knows no
// parameters that hold a slash.
func documented(pattern string) string { return strings.ReplaceAll(pattern, "...}", "}") }

// TestDocumentSchemas holds the fields that are served against the document.
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
	for _, k := range []workspace.Kind{
		workspace.Internal, workspace.Invalid, workspace.NotFound, workspace.Conflict,
		workspace.Stale, workspace.Unavailable, workspace.Unauthorized, workspace.Forbidden,
		workspace.Gone, workspace.Limited, workspace.BadGateway,
	} {
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

func TestPage(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		got := a.do(http.MethodGet, "/docs", "", "Authorization: ")
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || got.header.Get("Content-Security-Policy") == "" {
			t.Errorf("GET /docs = %d of type %s", got.status, got.header.Get("Content-Type"))
		}
		for _, r := range (&api{}).routes() {
			if !strings.Contains(got.body, "<code>"+documented(r.pattern)+"</code>") {
				t.Errorf("GET /docs does not tell of %s", r.pattern)
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
