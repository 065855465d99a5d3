package filenames_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"devloop/internal/filenames"
)

// build builds a module with a sibling, and returns the program.
func build(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	for name, text := range map[string]string{
		"app/go.mod":        "module example.com/app\n\ngo 1.26\n\nrequire example.com/Shared v0.0.0\n\nreplace example.com/Shared => ../shared\n",
		"app/cmd/x/x.go":    "package main\n\nimport \"example.com/Shared/lib\"\n\nfunc main() { lib.F() }\n",
		"shared/go.mod":     "module example.com/Shared\n\ngo 1.26\n",
		"shared/lib/l.go":   "package lib\n\nfunc F() {}\n",
		"shared/lib/doc.go": "package lib\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "x")
	cmd := exec.Command("go", append(append([]string{"build", "-o", program}, flags...), "./cmd/x")...)
	cmd.Dir, cmd.Env = filepath.Join(dir, "app"), append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return program
}

func TestNames(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	plain, trimmed := build(t, real), build(t, real, "-trimpath")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		return map[string]string{"GOROOT": "/go/root", "GOMODCACHE": "/go/mod"}[name]
	}
	app, shared := real+"/app/cmd/x/x.go", real+"/shared/lib/l.go"
	tests := []struct {
		program, editor, want, back string
	}{
		{plain, app, app, app},
		{plain, link + "/app/cmd/x/x.go", app, link + "/app/cmd/x/x.go"},
		{plain, "/elsewhere/x.go", "/elsewhere/x.go", "/elsewhere/x.go"},
		{plain, "x.go", "x.go", "x.go"},
		{trimmed, app, "example.com/app/cmd/x/x.go", app},
		{trimmed, link + "/app/cmd/x/x.go", "example.com/app/cmd/x/x.go", link + "/app/cmd/x/x.go"},
		{trimmed, shared, "example.com/Shared@v0.0.0/lib/l.go", shared},
		{trimmed, link + "/shared/lib/l.go", "example.com/Shared@v0.0.0/lib/l.go", link + "/shared/lib/l.go"},
		{trimmed, "/go/root/src/net/http/server.go", "net/http/server.go", "/go/root/src/net/http/server.go"},
		{trimmed, "/elsewhere/x.go", "/elsewhere/x.go", "/elsewhere/x.go"},
	}
	for _, tt := range tests {
		n := filenames.Of(tt.program, real+"/app", env)
		got := n.Program(tt.editor)
		if back := n.Editor(got); got != tt.want || back != tt.back {
			t.Errorf("trimmed %v: Program(%s) = %s, Editor of it %s; want %s, %s", tt.program == trimmed, tt.editor, got, back, tt.want, tt.back)
		}
	}
}
