package editor

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tailscale/hujson"
)

// schemaVariable names the file with the published schema of devcontainer.json,
// devContainer.base.schema.json of github.com/devcontainers/spec.
const schemaVariable = "DEVCONTAINER_SCHEMA"

func TestSchema(t *testing.T) {
	path := os.Getenv(schemaVariable)
	if path == "" {
		t.Skipf("needs %s, the path of devContainer.base.schema.json: it is not set", schemaVariable)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	document, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	standard, err := hujson.Standardize([]byte(read(t, devcontainerFile)))
	if err != nil {
		t.Fatal(err)
	}
	validate := func(change func(map[string]any)) error {
		t.Helper()
		config, err := jsonschema.UnmarshalJSON(bytes.NewReader(standard))
		if err != nil {
			t.Fatal(err)
		}
		change(config.(map[string]any))
		return schema.Validate(config)
	}
	if err := validate(func(map[string]any) {}); err != nil {
		t.Errorf("%s: %v", devcontainerFile, err)
	}
	// That it is the right schema shows in what it refuses.
	for name, change := range map[string]func(map[string]any){
		"a typo":              func(c map[string]any) { c["remoteuser"] = "dev" },
		"a legacy key":        func(c map[string]any) { c["extensions"] = []any{"golang.go"} },
		"one for images":      func(c map[string]any) { c["runArgs"] = []any{"--privileged"} },
		"another type":        func(c map[string]any) { c["overrideCommand"] = "false" },
		"an action of images": func(c map[string]any) { c["shutdownAction"] = "stopContainer" },
		"no service":          func(c map[string]any) { delete(c, "service") },
		"a port that is none": func(c map[string]any) {
			c["portsAttributes"] = map[string]any{"8080": map[string]any{"onAutoForward": "loudly"}}
		},
		"CPUs that are no number": func(c map[string]any) { c["hostRequirements"] = map[string]any{"cpus": json.Number("0")} },
	} {
		if validate(change) == nil {
			t.Errorf("with %s, %s is valid, want it refused", name, devcontainerFile)
		}
	}
}
