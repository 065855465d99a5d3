package template

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/janitor"
	"e2e/harness/terminal"
)

// files are a module that reads more than its own Go files: one of a sibling, a text,
// and what its build command writes anew each time.
var files = map[string]string{
	"server/go.mod":   "module example.com/hello\n\ngo 1.26\n\nrequire example.com/shared v0.0.0\n\nreplace example.com/shared => ../shared\n",
	"server/text.txt": "text 1",
	"server/main.go": strings.NewReplacer(`"hello 1"`, `"hello 1 ", text, " ", shared.Name`,
		`"net/http"`, "\"net/http\"\n\n\t\"example.com/shared\"").Replace(source),
	"server/text.go":    "package main\n\nimport _ \"embed\"\n\n//go:embed text.txt\nvar text string\n",
	"server/gen.sh":     "echo built >>../builds\necho 'package main' >generated.go\necho \"// build $(wc -l <../builds)\" >>generated.go\n",
	"server/plugins/.x": "",
	"shared/go.mod":     "module example.com/shared\n\ngo 1.26\n",
	"shared/shared.go":  "package shared\n\nconst Name = \"shared 1\"\n",
}

// TestHere takes the loop to another module on this machine, with the real air: as
// "devloop init" configures it, and with air's own delay. The build command is a
// generator that writes its own input.
func TestHere(t *testing.T) {
	ctx := janitor.Within(t, 10*time.Minute)
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	install := []string{"GOBIN=" + bin, "CGO_ENABLED=0"}
	run(ctx, t, filepath.Join(root, "devloop"), install, "go", "install", "-buildvcs=false", "./cmd/devloop")
	run(ctx, t, filepath.Join(root, "devloop"), install, "go", "install", "-buildvcs=false", "-modfile=tools.mod", "github.com/air-verse/air")
	for name, delay := range map[string]string{"as written": "delay = 1 ", "air's delay": "delay = 1000 "} {
		t.Run(name, func(t *testing.T) { edits(ctx, t, bin, delay) })
	}
}

// edits runs the loop of a new module, edits all that its build reads, and what it does
// not, and looks for lines that nothing caused.
func edits(ctx context.Context, t *testing.T, bin, delay string) {
	dir := t.TempDir()
	save := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		save(name, text)
	}
	main, server := files["server/main.go"], filepath.Join(dir, "server")
	path := []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "GOWORK=off", "GOFLAGS="}
	run(ctx, t, server, path, filepath.Join(bin, "devloop"), "init")
	config, err := os.ReadFile(filepath.Join(server, ".air.toml"))
	if err != nil {
		t.Fatal(err)
	}
	written := strings.NewReplacer("delay = 1 ", delay, `cmd = "devloop build`, `cmd = "sh gen.sh && devloop build`, `exclude_dir = [`, `exclude_dir = ["plugins", `).Replace(string(config))
	save("server/.air.toml", written)

	ports, err := checkout.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	o := command.Options{Dir: server, Run: filepath.Base(filepath.Dir(dir)) + filepath.Base(dir), Env: append(path, "XDG_RUNTIME_DIR="+dir)}
	if err := cleaner.Add(janitor.Processes(o.Run)); err != nil {
		t.Fatal(err)
	}
	up, err := command.Start(o, filepath.Join(bin, "devloop"), "up", "-listen", address, "--", "air", "-c", ".air.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		up.Signal(syscall.SIGINT)
		if code, err := up.Wait(ctx); err != nil || code != 0 {
			t.Errorf("Ctrl-C: exit code %d, %v", code, err)
		}
		if left := command.Outliving(o.Run); len(left) > 0 {
			t.Errorf("left running: %v", left)
		}
		if t.Failed() {
			t.Logf("the loop printed\n%s", terminal.Format(up.Out.Since(0)))
		}
	}()
	reloaded := regexp.MustCompile(`^reloaded in `)
	await := func(from terminal.Place, line *regexp.Regexp, want string) {
		t.Helper()
		if _, err := up.Out.Wait(ctx, from, line); err != nil {
			t.Fatal(err)
		}
		if got, err := get("http://" + address + "/"); err != nil || got != want {
			t.Fatalf("the server answers %q, %v, want %q", got, err, want)
		}
	}
	await(0, regexp.MustCompile(`^serving  `), "hello 1 text 1 shared 1")
	// The generator has run by now, so every later change of its output is its own.
	steps := []struct{ name, text, want string }{
		{"server/main.go", strings.Replace(main, "hello 1", "hello 2", 1), "hello 2 text 1 shared 1"},
		{"server/text.txt", "text 2", "hello 2 text 2 shared 1"},
		{"shared/shared.go", "package shared\n\nconst Name = \"shared 2\"\n", "hello 2 text 2 shared 2"},
		{"server/main.go", strings.Replace(main, "hello 1", "hello 3", 1), "hello 3 text 2 shared 2"},
	}
	for i, s := range steps {
		// Neither is part of the program. The first is in a directory that air leaves out.
		save("server/plugins/x.go", fmt.Sprintf("package plugins // %d\n", i))
		save("server/main_test.go", fmt.Sprintf("package main // %d\n", i))
		from := up.Out.End()
		save(s.name, s.text)
		await(from, reloaded, s.want)
	}
	if n := up.Out.Count(0, reloaded); n != len(steps) {
		t.Errorf("%d reloads, want one for each of %d edits", n, len(steps))
	}
	// Air may come after the loop has seen an edit by itself, and finds what is generated.
	odd, late := regexp.MustCompile(`air missed|no reload|failed`), regexp.MustCompile(`^no reload: .*  generated\.go$`)
	for _, line := range up.Out.Since(0) {
		if odd.MatchString(line.Text) && !late.MatchString(line.Text) {
			t.Errorf("the loop printed %q, which nothing caused", line.Text)
		}
	}
}
