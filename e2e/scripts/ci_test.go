package scripts_test

import (
	"strings"
	"testing"
)

// TestCI: a bare machine is prepared with what is beside the repository, and one
// without that goes on.
func TestCI(t *testing.T) {
	const (
		skipped  = "skipped: ../shared, which prepares a bare machine: it is not here\n"
		prepared = "\n== ../shared/docker/engine-up\nstarted\n== ../shared/docker/engine-up: 0 s\n" +
			"\n== ../shared/docker/base-images\npulled\n== ../shared/docker/base-images: 0 s\n"
		tested = "\n== make test\nmake test, Docker 1, schema []\n== make test: 0 s\n" +
			"\n== make check\nmake check, Docker 1, schema []\n== make check: 0 s\n"
	)
	beside := func(r *repo) {
		r.program(r.dir+"/../shared/docker/engine-up", "echo started")
		r.program(r.dir+"/../shared/docker/base-images", "echo pulled")
	}
	schema := func(path string) string { return strings.ReplaceAll(tested, "[]", "["+path+"]") }
	tests := []struct {
		name    string
		prepare func(*repo)
		vars    []string
		want    string
		code    int
	}{
		{name: "a machine that has all", want: skipped + tested},
		{name: "with a schema", vars: []string{"DEVCONTAINER_SCHEMA=/s.json"}, want: skipped + schema("/s.json")},
		{name: "a bare machine", prepare: beside, want: prepared + schema("REPO/../shared/schemas/devContainer.base.schema.json")},
		{name: "a bare machine, with a schema", prepare: beside, vars: []string{"DEVCONTAINER_SCHEMA=/s.json"}, want: prepared + schema("/s.json")},
		{
			name: "a test fails", prepare: func(r *repo) { r.command("make", "exit 2") },
			want: skipped + "\n== make test\n", code: 2,
		},
		{
			name: "no engine can be had", code: 5,
			prepare: func(r *repo) {
				beside(r)
				r.program(r.dir+"/../shared/docker/engine-up", "exit 5")
			},
			want: "\n== ../shared/docker/engine-up\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.copyTree("../../.ci", ".ci")
				r.command("date", "echo 7")
				r.command("make", `echo "make $*, Docker $REQUIRE_DOCKER, schema [${DEVCONTAINER_SCHEMA:-}]"`)
				if test.prepare != nil {
					test.prepare(r)
				}
				r.want("../.ci/run", test.want, test.code, test.vars...)
			})
		})
	}
}
